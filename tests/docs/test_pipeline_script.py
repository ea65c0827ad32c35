"""What examples/pipeline.sh does without a lab, and the words and decisions of examples/summary.py and `advance`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encryptdb.controller.commands.advance import first_phase
from encryptdb.controller.pulumi_cli import counts, cut_off, errors

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "pipeline.sh"


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    known = {k: v for k, v in os.environ.items() if not k.startswith(("ENCRYPTDB_", "GITHUB_"))}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        cwd=cwd,
        env=known | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An owner's repository with two stacks, and a commit on top that changes one, adds one and removes none."""
    (tmp_path / "Pulumi.orders.yaml").write_text("config:\n  encryptdb:phase: prepare\n")
    (tmp_path / "Pulumi.users.yaml").write_text("config:\n  encryptdb:phase: prepare\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    (tmp_path / "Pulumi.orders.yaml").write_text("config:\n  encryptdb:phase: restore\n")
    (tmp_path / "Pulumi.stock.yaml").write_text("config:\n  encryptdb:phase: prepare\n")
    (tmp_path / "other.txt").write_text("not a stack\n")
    commit(tmp_path)
    return tmp_path


def git(directory: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=directory, check=True, capture_output=True, timeout=60)


def commit(directory: Path) -> None:
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "a change")


@pytest.mark.parametrize(
    ("base", "told"),
    [
        (["HEAD~1"], ["orders", "stock"]),
        (["HEAD"], []),
        ([], ["orders", "stock", "users"]),
        ([""], ["orders", "stock", "users"]),
        (["0" * 40], ["orders", "stock", "users"]),
    ],
)
def test_the_stacks_that_changed_or_all_where_nothing_is_known(
    repository: Path, base: list[str], told: list[str]
) -> None:
    done = run("stacks", *base, ENCRYPTDB_STACKS=str(repository))
    assert (done.returncode, json.loads(done.stdout)) == (0, told), done.stderr


def test_a_removed_stack_is_no_job(repository: Path) -> None:
    (repository / "Pulumi.users.yaml").unlink()
    commit(repository)
    assert json.loads(run("stacks", "HEAD~1", ENCRYPTDB_STACKS=str(repository)).stdout) == []


def test_a_base_that_cannot_be_compared_with_ends_in_a_failure(repository: Path) -> None:
    git(repository, "checkout", "-q", "--orphan", "elsewhere")
    commit(repository)
    done = run("stacks", "HEAD@{1}", ENCRYPTDB_STACKS=str(repository))
    assert done.returncode != 0
    assert done.stdout == ""


def test_setup_installs_the_release_that_is_tested() -> None:
    tested = re.findall(r"pulumi/pkg/v3 v([\d.]+)", (ROOT / "engine" / "go.mod").read_text())
    assert re.findall(r"PULUMI_VERSION:=([\d.]+)", SCRIPT.read_text()) == tested


def test_setup_brings_what_a_fresh_checkout_lacks(tmp_path: Path) -> None:
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    shutil.copytree(EXAMPLES, checkout / "examples")
    (checkout / "stacks").mkdir()
    shutil.copy(ROOT / "requirements.txt", checkout)
    (checkout / ".venv").symlink_to(sys.prefix)
    programs.mkdir()
    # Of what is fetched from the internet, only that it is asked for.
    for name in ("curl", "pulumi"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/called\n')
        (programs / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "PGSSLROOTCERT"}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    command = ["sh", "examples/pipeline.sh", "setup"]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    called = (tmp_path / "called").read_text()
    assert called == "curl -fsSo rds-bundle.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem\n"
    assert called.strip() in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "arguments", [[], ["advance"], ["nothing", "orders-prod"], ["advance", "no-such-stack"], ["advance", "$(id)"]]
)
def test_wrong_usage_is_told_and_nothing_is_run(arguments: list[str]) -> None:
    done = run(*arguments, PATH="/usr/bin:/bin")
    assert done.returncode == 2
    assert done.stderr


@pytest.mark.parametrize("job", ["advance", "check"])
@pytest.mark.parametrize(
    ("silent", "told"),
    [
        ("stack select", "cannot select the stack"),
        ("config get", "does not tell the stack's configuration"),
        ("stack output", "does not tell the stack's outputs"),
    ],
)
def test_what_pulumi_does_not_tell_is_taken_for_nothing(tmp_path: Path, job: str, silent: str, told: str) -> None:
    """A backend that does not answer: the job fails and says so, and nothing is brought up."""
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(
        f"""#!/bin/sh
        echo "$@" >>{tmp_path}/called
        case "$*" in
            "{silent} "*) exit 1 ;;
            "config get encryptdb:phase "*) echo restore ;;
            "config get "*) echo 1 ;;
            "stack export "*) echo '{{"deployment": {{}}}}' ;;
            *) echo '{{}}' ;;
        esac
        """
    )
    pulumi.chmod(0o755)
    summary = tmp_path / "summary.md"
    done = run(job, "orders-prod", PATH=f"{tmp_path}:{os.environ['PATH']}", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1, done.stderr
    assert told in summary.read_text()
    called = (tmp_path / "called").read_text().splitlines()
    assert any(line.startswith(silent) for line in called)
    assert not [line for line in called if line.startswith(("up", "preview"))]


def test_a_job_whose_time_is_over_interrupts_the_update_once_and_waits_for_the_next(tmp_path: Path) -> None:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(
        f"""#!/bin/sh
        case "$*" in
            "config get encryptdb:phase "*) echo prepare ;;
            "config get "*) echo 1 ;;
            "up "*)
                trap 'echo INT >>{tmp_path}/signals; ended=1' INT
                trap 'echo TERM >>{tmp_path}/signals' TERM
                echo up >>{tmp_path}/signals
                while [ -z "${{ended:-}}" ]; do sleep 0.1; done
                sleep 1; exit 1 ;;
            *) echo '{{}}' ;;
        esac
        """
    )
    pulumi.chmod(0o755)
    summary = tmp_path / "summary.md"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)}
    done = run("advance", "orders-prod", ENCRYPTDB_JOB_SECONDS="5", **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "signals").read_text().split() == ["up", "INT"]
    assert "**Waits:** for the next job" in summary.read_text()


# The words and the decisions of summary.py.


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import summary as module

    return module


CREATE = {"op": "create", "urn": "urn:pulumi:s::p::a$aws:rds:ParameterGroup::source-parameters"}
HEALTHY = {
    "state": "caught-up",
    "next": "encryptdb cutover --stack orders",
    "lag_bytes": 0,
    "slots": {"encryptdb_orders_5": {"active": True, "wal_status": "reserved"}},
    "rollback_path": {"open": False, "until": None, "lossy": []},
    "warnings": [],
}
LOST = {"encryptdb_orders_5": {"active": False, "wal_status": "lost"}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"state": "prepared", "slots": LOST}, None),
        ({"warnings": ["slot x is lost"]}, "slot x is lost"),
        ({"slots": LOST}, "nobody follows"),
        ({"slots": {}}, "there is no slot"),
        (
            {"state": "open", "slots": LOST, "rollback_path": {"open": True, "until": "2024-05-01T12:00:00+00:00"}},
            "follows",
        ),
        ({"state": "open", "slots": {}, "rollback_path": {"until": None}}, None),
        ({"state": "retired", "warnings": ["The stack has no address for the source."]}, None),
    ],
)
def test_status_fails_where_somebody_has_to_look(summary: Any, changed: dict[str, Any], told: str | None) -> None:
    text, status = summary.answer("status", "status", 0, HEALTHY | changed)
    assert status == (1 if told else 0)
    assert (told or "Somebody has to look") in text or not told


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, 3), ({"verified": {"equal": False}}, 3), ({"verified": {"equal": True}}, 0), ({"state": "open"}, 0)],
)
def test_a_cutover_waits_for_a_comparison(summary: Any, changed: dict[str, Any], status: int) -> None:
    assert summary.answer("cutover", "status", 0, HEALTHY | changed)[1] == status


@pytest.mark.parametrize(("job", "status"), [("check", 0), ("advance", 0), ("cutover", 3), ("retire", 3)])
def test_what_the_schedule_brings_back_waits_and_what_a_person_started_fails(
    summary: Any, job: str, status: int
) -> None:
    found = {"error": {"message": "Not yet.", "detail": None, "hint": "Later."}}
    text, ended = summary.answer(job, "advance", 3, found)
    assert ended == status
    assert text.splitlines() == ["**Waits:** Not yet.", "", "Later.", ""][:3]
    assert summary.answer(job, "advance", 4, found)[1] == 4


@pytest.mark.parametrize("status", [124, 137])
def test_a_job_that_was_cut_off_waits_for_the_next_and_tells_what_was_done(summary: Any, status: int) -> None:
    done = [{"pulumi": "up", "phase": "prepare", "changes": "+ 3 created"}, {"command": "prepare"}]
    text, ended = summary.answer("advance", "advance", status, {"done": done})
    assert ended == 0
    assert "`pulumi up` in phase `prepare`: + 3 created." in text
    assert "**Waits:** for the next job" in text


def test_what_preflight_finds_is_told_with_its_remedy_and_cannot_break_out_of_the_page(summary: Any) -> None:
    finding = {
        "check": "roles",
        "severity": "blocks",
        "side": "source",
        "database": "a|b",
        "found": "<b>`x`</b>",
        "needed": "y",
        "remedy": "GRANT app TO master;\n```\n# no heading",
    }
    document = {"findings": [finding], "blocks": 1, "warns": 0, "passed": [], "unavailable": ["wal"]}
    text, status = summary.answer("check", "advance", 4, CHECKED | {"preflight": document})
    assert status == 4
    assert "- **Blocks**: roles (source, database a\\|b)." in text
    assert "\\<b\\>\\`x\\`\\</b\\>" in text
    assert "  ````\n  GRANT app TO master;\n  ```\n  # no heading\n  ````" in text
    assert "Not checked, because something is unavailable: wal" in text


CHECKED: dict[str, Any] = {
    "phase": "prepare",
    "first_phase": "prepare",
    "state": None,
    "preview": {"steps": [], "diagnostics": []},
    "preflight": None,
}


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "[]"])
def test_a_command_that_left_no_document_is_told_to_have_failed(summary: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(text)
    told, status = summary.answer("advance", "advance", 1, summary.read(str(path)))
    assert status == 1
    assert "Failed" in told
    assert "log" in told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "A new stack"),
        ({"state": "open"}, "No preflight: the migration is open."),
        (
            {"preview": {"steps": [CREATE], "diagnostics": []}},
            "| create | source-parameters | aws:",
        ),
        ({"phase": "restore"}, "`prepare` comes first: the YAML says `restore`"),
        ({"preview": {"steps": [], "diagnostics": []}}, "Nothing."),
        ({"preview": {}}, "There was no preview"),
    ],
)
def test_what_check_found_is_told(summary: Any, changed: dict[str, Any], told: str) -> None:
    assert told in summary.answer("check", "advance", 0, CHECKED | changed)[0]


def test_a_preview_that_is_refused_says_why(summary: Any) -> None:
    refusal = {"severity": "error", "message": "error: phase: prepare would go back"}
    found = CHECKED | {
        "preview": {"steps": [], "diagnostics": [refusal]},
        "error": {"message": "pulumi preview failed."},
    }
    text, status = summary.answer("check", "advance", 1, found)
    assert status == 1
    assert "**Refused:** phase: prepare would go back" in text
    assert "Nothing." not in text


# The decisions of `advance`.


@pytest.mark.parametrize(
    ("export", "half_made"),
    [
        ({"resources": [{"urn": "a"}]}, False),
        ({"resources": [], "pending_operations": [{"type": "creating"}]}, True),
        ({"resources": [{"urn": "a", "initErrors": ["stopped"]}]}, True),
        ({}, False),
    ],
)
def test_what_was_cut_off_is_seen_in_the_state(export: Any, half_made: bool) -> None:
    assert cut_off({"deployment": export}) == half_made


@pytest.mark.parametrize(
    ("phase", "outputs", "state", "first"),
    [
        ("prepare", {}, None, "prepare"),
        ("restore", {}, None, "prepare"),
        ("restore", {"attempt": 1, "phase": "prepare"}, "not-prepared", "prepare"),
        ("restore", {"attempt": 1, "phase": "prepare"}, "prepared", "restore"),
        ("restore", {"attempt": 2, "phase": "restore"}, "abandoned", "prepare"),
        ("retire", {"attempt": 1, "phase": "restore"}, "open", "restore"),
        ("retire", {"attempt": 1, "phase": "restore"}, "retired", "retire"),
    ],
)
def test_the_first_phase_of_a_run(phase: str, outputs: dict[str, Any], state: str | None, first: str) -> None:
    assert first_phase(phase, "1", outputs, state) == first


PRINTED = """Resources:
    + 9 to create

Diagnostics:
  aws:rds:Snapshot (snapshot):
    error: 1 error occurred:
        * the snapshot failed

Resources:
    + 3 created
    8 unchanged
"""


def test_what_an_update_printed_is_told_by_its_last_counts_and_its_errors() -> None:
    assert counts(PRINTED) == "+ 3 created, 8 unchanged"
    assert counts("") == "nothing was changed"
    assert errors(PRINTED) == ["1 error occurred: * the snapshot failed"]
