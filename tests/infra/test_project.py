"""Pulumi.yaml, the example stack, the settings and the documentation speak of the same keys."""

import re
from pathlib import Path

import yaml

from encryptdb.lab.pulumi.config import UNTYPED, Project, effective
from encryptdb.stacks import settings

ROOT = Path(__file__).parents[2]
PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())


def read_by_the_program() -> set[str]:
    """The keys in the source of the one module that reads configuration."""
    text = Path(settings.__file__).read_text()
    named = r'read\.(?:identifier|one_of|text|texts|boolean|secret_arn)\("(\w+)"'
    return set(re.findall(named, text)) | {"attempt", "switches", "rollbackWindow"}


def test_every_key_is_typed_described_and_has_a_default() -> None:
    typed = {k.removeprefix("encryptdb:"): v for k, v in PROJECT["config"].items()}
    assert set(typed) | {k.removeprefix("encryptdb:") for k in UNTYPED} == read_by_the_program()
    for key, declared in typed.items():
        assert {"type", "description", "default"} <= set(declared), key
        # What the CLI knows (sdk/go/common/workspace/project.json).
        assert declared["type"] in ("string", "integer", "boolean", "array"), key


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs" / "stack.md").read_text()
    assert {k for k in read_by_the_program() if f"`{k}`" not in text} == set()


def test_stacks_lie_in_the_folder_of_that_name_and_python_in_a_virtual_environment() -> None:
    assert PROJECT["stackConfigDir"] == "stacks"
    assert PROJECT["runtime"] == {"name": "python", "options": {"virtualenv": ".venv"}}


def test_the_example_stack_begins_with_prepare(tmp_path: Path) -> None:
    found = effective(Project(ROOT), "orders-prod", tmp_path / "kept.json", {})
    assert (found["encryptdb:source"], found["encryptdb:phase"]) == ("orders-prod", "prepare")


def test_what_is_given_is_kept_and_wins(tmp_path: Path) -> None:
    kept = tmp_path / "config" / "orders-prod.json"
    effective(Project(ROOT), "orders-prod", kept, {"phase": "restore", "encryptdb:attempt": "2"})
    found = effective(Project(ROOT), "orders-prod", kept, {"attempt": "3"})
    assert (found["encryptdb:phase"], found["encryptdb:attempt"]) == ("restore", "3")
    assert found["encryptdb:kmsKey"] == "alias/aws/rds"
