"""A server and a parameter group with every setting that an owner may have chosen. Only values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool | tuple[str, ...] | None
"""None: AWS tells none, so it has none."""

Kind = Literal["instance", "cluster", "member"]


@dataclass(frozen=True)
class Block:
    """A setting that has parts, by their names in Terraform. `shorthand` is how the AWS command line writes it."""

    parts: tuple[tuple[str, Value], ...]
    shorthand: str


@dataclass(frozen=True)
class Setting:
    """One setting of one server. Without an `argument` it is not for code, without an `option` no command sets it;
    `compared` is whether a source's is worth having."""

    title: str
    value: Value | Block
    argument: str | None
    option: str | None = None
    compared: bool = True


@dataclass(frozen=True)
class Server:
    """One instance, cluster, or member of a cluster, as AWS describes it. `hosts` are the names it answers to."""

    kind: Kind
    identifier: str
    resource_id: str
    arn: str
    hosts: tuple[str, ...]
    group: str
    settings: tuple[Setting, ...]
    tags: Mapping[str, str]
    replicas: tuple[str, ...] = ()
    backups_elsewhere: tuple[str, ...] = ()
    """ARNs of copies of its automated backups in other regions."""

    @property
    def noun(self) -> str:
        """As in `aws rds modify-db-instance`."""
        return "cluster" if self.kind == "cluster" else "instance"

    def modify(self, *options: str) -> str:
        return " ".join((f"aws rds modify-db-{self.noun} --db-{self.noun}-identifier {self.identifier}", *options))


@dataclass(frozen=True)
class Parameter:
    """One parameter that someone set in a group; `method` as AWS has it: immediate or pending-reboot."""

    name: str
    value: str
    method: str


@dataclass(frozen=True)
class ParameterGroup:
    """A parameter group with what someone set in it. `noun` as in `aws rds modify-db-parameter-group`."""

    noun: Literal["parameter-group", "cluster-parameter-group"]
    name: str
    family: str
    description: str
    tags: Mapping[str, str]
    parameters: tuple[Parameter, ...]
