"""The contract between the Pulumi program and the controller: the outputs of a stack.

The program exports `Outputs.to_json()`, key by key; the controller reads the same keys back with
`Outputs.from_json()`. Nothing here imports Pulumi or AWS, so both sides may import it. No secret is ever in it.
What a later phase makes is `None` (JSON `null`) before that phase.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from encryptdb.stacks.contract.errors import Usage

CONTRACT = 1
"""The version of this contract. A controller refuses outputs of another one."""

Phase = Literal["prepare", "restore", "retire"]
Engine = Literal["postgres", "aurora-postgresql"]
PHASES: tuple[Phase, ...] = ("prepare", "restore", "retire")
ENGINES: tuple[Engine, ...] = ("postgres", "aurora-postgresql")


_WINDOW = re.compile(r"([1-9][0-9]{0,4})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class ContractError(Usage):
    """The outputs are not what the contract says; the message names the key."""


def window_length(text: str) -> timedelta | None:
    """How long a rollback window such as "36h", "7d" or "2w" lasts; None for "none". Raises ValueError."""
    if text == "none":
        return None
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@dataclass(frozen=True)
class Side:
    """A database server as the stack knows it: the source or the target.

    `identifier` and `resource_id` are the RDS DBInstanceIdentifier and DbiResourceId (for Aurora the cluster's);
    `host` is None only where the server is gone or not read any more (the source, in phase `retire`). `secret_arn`
    names a Secrets Manager secret that holds the login, not the login. `reader_host` and `members` are Aurora's.
    """

    identifier: str
    resource_id: str
    host: str | None
    port: int
    secret_arn: str | None = None
    reader_host: str | None = None
    members: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Outputs:
    """All outputs of one stack. Field names are the JSON keys in snake_case.

    `switches` are the documents of the config key of the same name, each with a `kind`.
    `rollback_window` is a duration such as "7d", "36h", or "none" (`window_length`). `auth` is "password" or "iam".
    """

    contract: int
    stack: str
    phase: Phase
    attempt: int
    engine: Engine
    region: str
    account: str
    source: Side
    target: Side | None
    kms_key_arn: str
    snapshot_arn: str | None
    source_parameter_group: str | None
    target_parameter_group: str | None
    switches: tuple[Mapping[str, Any], ...] = ()
    rollback_window: str = "7d"
    auth: Literal["password", "iam"] = "password"

    def to_json(self) -> dict[str, Any]:
        """The document as the stack exports it: camelCase keys, `null` for what is not there yet."""
        return {camel(f.name): _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, document: object) -> "Outputs":
        """Read the document back. Raises ContractError, which names the key; unknown keys are ignored."""
        if not isinstance(document, Mapping):
            raise ContractError("the outputs are not a JSON object")
        if document.get("contract") != CONTRACT:
            raise ContractError(f"contract: this reads version {CONTRACT}, found {document.get('contract')!r}")
        read = _Reader(document, "")
        return cls(
            contract=CONTRACT,
            stack=read.text("stack"),
            phase=read.one_of("phase", PHASES),
            attempt=read.number("attempt"),
            engine=read.one_of("engine", ENGINES),
            region=read.text("region"),
            account=read.text("account"),
            source=_side(document.get("source"), "source"),
            target=None if document.get("target") is None else _side(document["target"], "target"),
            kms_key_arn=read.text("kmsKeyArn"),
            snapshot_arn=read.optional_text("snapshotArn"),
            source_parameter_group=read.optional_text("sourceParameterGroup"),
            target_parameter_group=read.optional_text("targetParameterGroup"),
            switches=_switches(document.get("switches") or ()),
            rollback_window=read.window("rollbackWindow"),
            auth=read.one_of("auth", ("password", "iam"), default="password"),
        )


class _Reader:
    """Typed access to one JSON object; every error names the whole path of the key."""

    def __init__(self, document: Mapping[str, Any], path: str) -> None:
        self.document, self.path = document, path

    def text(self, key: str) -> str:
        value = self.optional_text(key)
        if value is None:
            raise ContractError(f"{self.path}{key}: missing")
        return value

    def optional_text(self, key: str) -> str | None:
        value = self.document.get(key)
        if value is not None and not isinstance(value, str):
            raise ContractError(f"{self.path}{key}: expected a string, found {value!r}")
        return value

    def number(self, key: str) -> int:
        value = self.document.get(key)
        # Pulumi writes every number as a double.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise ContractError(f"{self.path}{key}: expected an integer, found {value!r}")
        return int(value)

    def window(self, key: str) -> str:
        value = self.optional_text(key) or "7d"
        try:
            window_length(value)
        except ValueError as error:
            raise ContractError(f"{self.path}{key}: {error}") from None
        return value

    def one_of(self, key: str, allowed: tuple[Any, ...], default: Any = None) -> Any:
        value = self.document.get(key, default)
        if value not in allowed:
            raise ContractError(f"{self.path}{key}: expected one of {', '.join(allowed)}, found {value!r}")
        return value


def _side(value: object, path: str) -> Side:
    if not isinstance(value, Mapping):
        raise ContractError(f"{path}: expected an object, found {value!r}")
    read = _Reader(value, f"{path}.")
    members = value.get("members")
    return Side(
        identifier=read.text("identifier"),
        resource_id=read.text("resourceId"),
        host=read.optional_text("host"),
        port=read.number("port"),
        secret_arn=read.optional_text("secretArn"),
        reader_host=read.optional_text("readerHost"),
        members=None if members is None else tuple(str(m) for m in members),
    )


def _switches(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list | tuple):
        raise ContractError(f"switches: expected a list, found {value!r}")
    for number, switch in enumerate(value):
        if not isinstance(switch, Mapping) or not isinstance(switch.get("kind"), str):
            raise ContractError(f"switches[{number}].kind: missing")
    return tuple(value)


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)


def _plain(value: Any) -> Any:
    if isinstance(value, Side):
        return {camel(f.name): _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value
