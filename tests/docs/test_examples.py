"""examples/: the shell is linted, also inside the YAML files; what they name is there; nothing in them runs for a
stranger or shows a secret. That the commands do what they say is shown by tests/engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "pipeline.sh"
WORKFLOWS = sorted((EXAMPLES / "github-actions").glob("*.yml"))
BUILDSPECS = [EXAMPLES / "codebuild" / name for name in ("check.yml", "job.yml")]
TEMPLATE = EXAMPLES / "codebuild" / "database.yml"
BIN = Path(sys.executable).parent


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, whose values are taken as they stand."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")


def loaded(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)


def ids(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(EXAMPLES)) for p in paths]


def steps(path: Path) -> Iterator[tuple[str, Any]]:
    for name, job in loaded(path)["jobs"].items():
        for step in job["steps"]:
            yield name, step


def shell_in(path: Path) -> list[str]:
    """Every piece of shell in a YAML file."""
    if path in WORKFLOWS:
        return [step["run"] for _, step in steps(path) if "run" in step]
    return [command for phase in loaded(path)["phases"].values() for command in phase["commands"]]


def shellcheck(text: str) -> str:
    done = subprocess.run(
        [BIN / "shellcheck", "--shell=sh", "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout


def subcommands() -> set[str]:
    """What pipeline.sh says that it can do."""
    return set(re.findall(r"^#   pipeline\.sh (\w+)", SCRIPT.read_text(), re.MULTILINE))


def test_the_linter_finds_what_is_wrong() -> None:
    assert "SC2086" in shellcheck("rm $STACK\n")


@pytest.mark.parametrize("path", [*WORKFLOWS, *BUILDSPECS], ids=ids([*WORKFLOWS, *BUILDSPECS]))
def test_the_shell_in_a_yaml_file_is_clean_and_takes_no_expression(path: Path) -> None:
    pieces = shell_in(path)
    assert pieces
    for piece in pieces:
        # What GitHub puts into a script before the shell sees it can be a command.
        assert "${{" not in piece
        assert shellcheck(piece) == ""


def test_the_workflows_are_what_github_takes() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [*WORKFLOWS, *BUILDSPECS], ids=ids([*WORKFLOWS, *BUILDSPECS]))
def test_every_file_and_subcommand_that_is_called_is_there(path: Path) -> None:
    text = "\n".join(shell_in(path))
    called = re.findall(r"sh (\S+) (\"\$\w+\"|\w+)", text)
    assert called
    for file, job in called:
        assert (ROOT / file) == SCRIPT
        assert job in subcommands() | {'"$DECISION"', '"$JOB"'}


def test_every_decision_and_every_scheduled_job_is_one_that_the_script_knows() -> None:
    by_approval = loaded(EXAMPLES / "github-actions" / "encryptdb-by-approval.yml")
    # To YAML 1.1 the key `on` is a truth.
    options = by_approval[True]["workflow_dispatch"]["inputs"]["decision"]["options"]
    assert set(options) - {"reboot"} == {"cutover", "rollback", "retire"}
    assert set(options) - {"reboot"} <= subcommands()
    given = re.findall(r'"name": "JOB", "value": "(\w+)"', TEMPLATE.read_text())
    assert set(given) == {"advance", "status", "cutover"}


def test_every_subcommand_is_called_by_both_pipelines_or_started_by_hand() -> None:
    for paths in (WORKFLOWS, [*BUILDSPECS, TEMPLATE, EXAMPLES / "README.md"]):
        text = "\n".join(p.read_text() for p in paths)
        assert {job for job in subcommands() if not re.search(rf"\b{job}\b", text)} == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids(WORKFLOWS))
def test_actions_are_pinned_and_jobs_may_no_more_than_they_need(path: Path) -> None:
    document = loaded(path)
    for _, step in steps(path):
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
    for name, job in document["jobs"].items():
        granted = job.get("permissions", document["permissions"])
        uses_aws = any("configure-aws-credentials" in s.get("uses", "") for n, s in steps(path) if n == name)
        assert granted == {"contents": "read"} | ({"id-token": "write"} if uses_aws else {})
        assert job["runs-on"] == ["self-hosted", "vpc"]


def test_jobs_that_change_a_stack_are_never_two_at_once_and_never_cancelled() -> None:
    groups = {}
    for path in WORKFLOWS:
        for name, job in loaded(path)["jobs"].items():
            if name in ("advance", "decided"):
                assert job["concurrency"]["cancel-in-progress"] is False
                groups[name] = re.sub(r"\$\{\{ (matrix|inputs)\.stack \}\}", "STACK", job["concurrency"]["group"])
    assert groups == {"advance": "encryptdb-STACK", "decided": "encryptdb-STACK"}
    projects = {k: r for k, r in loaded(TEMPLATE)["Resources"].items() if r["Type"] == "AWS::CodeBuild::Project"}
    assert projects["Changes"]["Properties"]["ConcurrentBuildLimit"] == 1
    assert all("VpcConfig" in r["Properties"] for r in projects.values())


def test_what_a_person_decides_stands_behind_an_approval() -> None:
    decided = loaded(EXAMPLES / "github-actions" / "encryptdb-by-approval.yml")["jobs"]["decided"]
    assert decided["environment"] == "production"
    by_itself = "\n".join(shell_in(EXAMPLES / "github-actions" / "encryptdb.yml"))
    assert not re.search(r"ENCRYPTDB_ALLOW_REBOOT|cutover|rollback|retire", by_itself)
    stages = [s["Name"] for s in loaded(TEMPLATE)["Resources"]["Cutover"]["Properties"]["Stages"]]
    assert stages == ["Source", "Approval", "Cutover"]


def test_a_job_ends_by_itself_before_its_runner_and_its_role_do() -> None:
    for path in WORKFLOWS:
        for job in loaded(path)["jobs"].values():
            seconds = job.get("env", {}).get("ENCRYPTDB_JOB_SECONDS")
            assert seconds is None or seconds + 300 <= min(job["timeout-minutes"] * 60, 3600)


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids(WORKFLOWS))
def test_no_secret_is_on_a_command_line(path: Path) -> None:
    secrets = {
        k for _, job in loaded(path)["jobs"].items() for k, v in job.get("env", {}).items() if "secrets." in str(v)
    }
    assert secrets <= {"PULUMI_CONFIG_PASSPHRASE"}
    assert not any(name in piece for piece in shell_in(path) for name in secrets)


def test_the_template_has_no_alias_which_cloudformation_does_not_take() -> None:
    assert not [e for e in yaml.parse(TEMPLATE.read_text()) if isinstance(e, yaml.AliasEvent)]


# What the script does without a lab.


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


# The words and the decisions of summary.py.


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import summary as module

    return module


def written(directory: Path, document: Any) -> str:
    path = directory / "document.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


HEALTHY = {
    "station": "caught-up",
    "step": "cutover",
    "lag_bytes": 0,
    "slots": {"encryptdb_orders_5": {"active": True, "wal_status": "reserved"}},
    "way_back": {"open": False, "until": None, "lossy": []},
    "warnings": [],
}
LOST = {"encryptdb_orders_5": {"active": False, "wal_status": "lost"}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"station": "prepared", "slots": LOST}, None),
        ({"warnings": ["slot x is lost"]}, "slot x is lost"),
        ({"slots": LOST}, "nobody follows"),
        ({"slots": {}}, "there is no slot"),
        (
            {"station": "open", "slots": LOST, "way_back": {"open": True, "until": "2024-05-01T12:00:00+00:00"}},
            "follows",
        ),
        ({"station": "open", "slots": {}, "way_back": {"until": None}}, None),
        ({"station": "retired", "warnings": ["The stack names no address for the source."]}, None),
    ],
)
def test_status_fails_where_somebody_has_to_look(
    summary: Any, tmp_path: Path, changed: dict[str, Any], told: str | None
) -> None:
    text, status = summary.status(written(tmp_path, HEALTHY | changed))
    assert status == (1 if told else 0)
    assert (told or "Somebody has to look") in text or not told


@pytest.mark.parametrize(
    ("until", "over"), [("2024-05-01T11:59:59+00:00", True), ("2024-05-01T14:00:01+02:00", False), (None, True)]
)
def test_the_window_is_over_when_its_end_has_passed(
    summary: Any, tmp_path: Path, until: str | None, over: bool
) -> None:
    path = written(tmp_path, HEALTHY | {"way_back": {"until": until}})
    assert summary.due(path, datetime.fromisoformat("2024-05-01T12:00:00+00:00"))[1] == (0 if over else 1)


@pytest.mark.parametrize(
    ("deployment", "cut_off"),
    [
        ({"resources": [{"urn": "a"}]}, False),
        ({"resources": [], "pending_operations": [{"type": "creating"}]}, True),
        ({"resources": [{"urn": "a", "initErrors": ["stopped"]}]}, True),
        ({}, False),
    ],
)
def test_what_was_cut_off_is_seen_in_the_state(summary: Any, tmp_path: Path, deployment: Any, cut_off: bool) -> None:
    assert summary.pending(written(tmp_path, {"deployment": deployment}))[1] == (0 if cut_off else 1)


def test_what_preflight_finds_is_told_with_its_remedy_and_cannot_break_out_of_the_page(
    summary: Any, tmp_path: Path
) -> None:
    finding = {
        "name": "roles",
        "severity": "blocks",
        "side": "source",
        "database": "a|b",
        "found": "<b>`x`</b>",
        "needed": "y",
        "remedy": "GRANT app TO master;\n```\n# no heading",
    }
    document = {"findings": [finding], "blocks": 1, "warns": 0, "passed": [], "unestablished": ["wal"]}
    text, _ = summary.preflight("4", written(tmp_path, document))
    assert "- **Blocks**: roles (source, database a\\|b)." in text
    assert "\\<b\\>\\`x\\`\\</b\\>" in text
    assert "  ````\n  GRANT app TO master;\n  ```\n  # no heading\n  ````" in text
    assert "Not established, because something did not answer: wal" in text


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "[]"])
def test_a_command_that_left_no_document_is_told_to_have_failed(summary: Any, tmp_path: Path, text: str) -> None:
    for told in (
        summary.ended("verify", "1", written(tmp_path, text)),
        summary.preflight("1", written(tmp_path, text)),
    ):
        assert "Failed" in told[0]
        assert "log" in told[0]


def test_a_preview_that_is_refused_says_why(summary: Any, tmp_path: Path) -> None:
    refusal = {"severity": "error", "message": "error: phase: prepare would go back"}
    document = {"steps": [], "diagnostics": [refusal], "changeSummary": {}}
    text, _ = summary.preview("prepare", "prepare", written(tmp_path, document))
    assert "**Refused:** phase: prepare would go back" in text
    assert "Nothing." not in text
