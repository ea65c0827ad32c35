"""The configuration of a stack as `lab up` puts it together.

Weakest first: the defaults of Pulumi.yaml, stacks/Pulumi.NAME.yaml, and what was given with --config, which is kept in
the lab's directory until it is given anew.
"""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)

UNTYPED = {"encryptdb:switches": "[]"}
"""Keys of the project that Pulumi.yaml can only mention, because the CLI has no type for a list of objects."""


class ConfigFileError(Exception):
    """The configuration cannot be put together; the text names the file or the key, and says what to do."""


@dataclass(frozen=True)
class Project:
    """The Pulumi project of this repository."""

    root: Path

    def name(self) -> str:
        return str(self._document()["name"])

    def defaults(self) -> dict[str, str]:
        """Every key that the project knows, with its default."""
        return {k: as_text(v.get("default", "")) for k, v in self._document()["config"].items()} | UNTYPED

    def stack_file(self, stack: str) -> Path:
        return self.root / str(self._document().get("stackConfigDir", ".")) / f"Pulumi.{stack}.yaml"

    def _document(self) -> dict[str, Any]:
        return _read_yaml(self.root / "Pulumi.yaml")


def effective(project: Project, stack: str, kept: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The stack's configuration, fully qualified; `given` is kept. Raises ConfigFileError."""
    if not _STACK.fullmatch(stack):
        raise ConfigFileError(f"{stack!r} is no name for a stack: letters, digits, - _ . and at most 100 of them.")
    known = project.defaults()
    new = {qualified(key, known): value for key, value in given.items()}
    before = _read_json(kept)
    if new:
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(".new")
        beside.write_text(json.dumps(before | new, indent=2, sort_keys=True))
        beside.replace(kept)
    return known | _from_file(project.stack_file(stack), known) | before | new


def qualified(key: str, known: Mapping[str, str]) -> str:
    """`source` as `encryptdb:source`. Raises ConfigFileError for a key of ours that does not exist."""
    full = key if ":" in key else f"encryptdb:{key}"
    if full.startswith("encryptdb:") and full not in known:
        near = difflib.get_close_matches(full, known, 1)
        hint = f" Did you mean {near[0]}?" if near else " Pulumi.yaml lists the keys there are."
        raise ConfigFileError(f"There is no configuration key {full}.{hint}")
    return full


def as_text(value: Any) -> str:
    """A value as the engine hands it to a program: a string, and JSON for what is a list or an object."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value)
    return "" if value is None else str(value)


def _from_file(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for key, value in (_read_yaml(path).get("config") or {}).items():
        if isinstance(value, dict) and set(value) == {"secure"}:
            raise ConfigFileError(f"{path}: {key} is encrypted, and the lab has no key to it. Override it: --config.")
        found[qualified(key, known)] = as_text(value)
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigFileError(f"{path} cannot be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise ConfigFileError(f"{path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigFileError(f"{path} holds no keys.")
    return document


def _read_json(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return {str(k): str(v) for k, v in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError):
        raise ConfigFileError(f"{path} is not what `lab up` wrote. Delete it, and give --config again.") from None
