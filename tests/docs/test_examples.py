"""examples/: the shell is linted, also inside the YAML files; what they name is there; nothing in them runs for a
stranger or shows a secret. What the script does is shown by test_pipeline_script.py and tests/engine."""

import re
import subprocess
import sys
from collections.abc import Iterator
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
