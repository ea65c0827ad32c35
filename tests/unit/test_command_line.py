"""Wrong usage ends with status 2, in words; with --json there is always exactly one document on stdout."""

import json
from pathlib import Path

import pytest

from encryptdb.controller.cli import COMMANDS, WITHOUT_STACK, main, parser


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in WITHOUT_STACK])
def test_every_command_needs_a_stack_or_a_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command])
    assert ended.value.code == 2
    assert "--stack" in capsys.readouterr().err


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
    assert "cannot be read" in capsys.readouterr().err


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


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "soon"])
def test_a_pause_that_makes_no_sense(seconds: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["cutover", "--stack", "x", "--max-pause", seconds])
