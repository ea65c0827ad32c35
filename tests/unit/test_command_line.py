"""Wrong usage ends with status 2, in words; with --json there is always exactly one document on stdout."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from encryptdb.controller.cli import load, main, parse
from encryptdb.controller.commands import COMMANDS
from encryptdb.controller.migration import Options

ROOT = Path(__file__).resolve().parents[2]
WITH_STACK = [name for name in COMMANDS if name not in ("init", "advance", "states")]
CHANGING = {"prepare", "replicate", "cutover", "rollback", "retire", "abandon", "run", "advance"}


def options(command: str) -> set[str]:
    return {o for p in load(command).params if isinstance(p, click.Option) for o in p.opts}


def python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a piece of Python in a process of its own."""
    command = [sys.executable, "-c", code]
    environment = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", WITH_STACK)
@pytest.mark.parametrize("where", [[], ["--stack", "x", "--outputs", "y"]])
def test_a_command_needs_a_stack_or_a_file_and_not_both(
    command: str, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *where]) == 2
    assert "exactly one of --stack NAME and --outputs FILE" in capsys.readouterr().err


def test_every_module_of_commands_is_a_command() -> None:
    modules = {path.stem for path in (ROOT / "controller" / "commands").glob("*.py")}
    assert modules - {"__init__", "arguments"} == set(COMMANDS)
    assert all(load(name).name == name for name in COMMANDS)


def test_every_command_has_json_and_the_changing_ones_say_who_approved() -> None:
    assert {name for name in COMMANDS if "--json" not in options(name)} == set()
    assert {name for name in COMMANDS if "--approved-by" in options(name)} == CHANGING


def test_every_option_is_declared_by_a_command() -> None:
    declared = {o.removeprefix("--").replace("-", "_") for name in WITH_STACK for o in options(name)}
    assert {f.name for f in dataclasses.fields(Options)} == declared - {"stack", "outputs", "json"}


@pytest.mark.parametrize(("argv", "meant"), [(["cutver"], "cutover"), (["cutover", "--dry-rn"], "--dry-run")])
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    argv: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["status", "--json"], ["statsu", "--stack", "x", "--json"]])
def test_wrong_usage_is_a_document_too(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == 2
    assert document["error"]["message"]
    assert "--help" in document["error"]["hint"]


def test_help_and_version_reach_their_goal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["status", "--help"]) == main(["--version"]) == 0
    shown = capsys.readouterr()
    assert all(f"  {name} " in shown.out for name in COMMANDS)
    assert shown.err == ""


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom encryptdb.controller.cli import main\nmain(['--help'])\n"
        "heavy = {'psycopg', 'boto3', 'pulumi', 'encryptdb.controller.migration'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [("encryptdb cut", ["cutover"]), ("encryptdb retire --end", ["--end-rollback-window"]),
     ("encryptdb status --stack orders", ["orders-prod"])],
)  # fmt: skip
def test_the_shell_completes_commands_options_and_stacks(words: str, told: list[str]) -> None:
    environment = {"_ENCRYPTDB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = python(
        "import sys\nsys.argv = ['encryptdb']\nfrom encryptdb.controller.cli import main\nmain()", **environment
    )
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == told, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interruption(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    monkeypatch.setattr("encryptdb.controller.commands.arguments.read_outputs", interrupted)
    kept = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["status", "--stack", "x", "--json"]) == 130
    finally:
        signal.signal(signal.SIGTERM, kept)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["status"] == 130
    assert "Interrupted." in shown.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"contract": 1}', "stack: missing"),
        ('{"contract": 9}', "contract"),
    ],
)
def test_outputs_that_cannot_be_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "outputs.json"
    file.write_text(text)
    assert main(["status", "--outputs", str(file), "--json"]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    document = json.loads(shown.out)
    assert document["status"] == 2
    assert document["error"]["hint"]


def test_outputs_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--outputs", str(tmp_path / "none.json")]) == 2
    assert "Could not read" in capsys.readouterr().err


def test_a_stack_that_the_lab_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    assert main(["status", "--stack", "../etc/nobody"]) == 2
    assert "no stack" in capsys.readouterr().err


def test_a_machine_without_pulumi(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("LAB_DIR", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["status", "--stack", "orders"]) == 2
    assert "--outputs" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "nan", "soon"])
@pytest.mark.parametrize("command", ["cutover", "rollback"])
def test_a_pause_that_makes_no_sense(command: str, seconds: str) -> None:
    with pytest.raises(click.UsageError, match=r"from 0\.5 to 600"):
        parse([command, "--stack", "x", "--max-pause", seconds])


@pytest.mark.parametrize("typed", ["zzz", "16", "", "0/3E9; x", "-1/5", "1/123456789"])
def test_what_is_not_an_lsn_is_wrong_usage(typed: str) -> None:
    with pytest.raises(click.UsageError, match="is not an LSN"):
        parse(["replicate", "--stack", "x", f"--lsn={typed}"])
