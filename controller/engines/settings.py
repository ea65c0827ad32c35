"""A server and a parameter group with every setting that an owner may have chosen, for `adopt`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from encryptdb.controller.engines import tables
from encryptdb.controller.engines.tables import Setting
from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.words import Words
from encryptdb.stacks.contract.names import AWS_PREFIX

Kind = Literal["instance", "cluster", "member"]

TABLES: Mapping[Kind, tuple[tables.Row, ...]] = {
    "instance": tables.INSTANCE,
    "cluster": tables.CLUSTER,
    "member": tables.MEMBER,
}

GP3_THRESHOLD = 400 << 30
"""Bytes below which nobody chooses IOPS and throughput of gp3 for PostgreSQL (RDS User Guide, DB instance storage)."""


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
    tags: Mapping[str, str]
    parameters: tuple[Parameter, ...]


def servers_of(database: Database) -> tuple[Server, ...]:
    """The instance, or the cluster and after it its instances, the writer first."""
    return (_server(database.words.noun, database), *(_server("member", m) for m in database.members))


def _server(kind: Kind, database: Database) -> Server:
    found = tuple(row.of(database) for row in TABLES[kind])
    if database.answer.get("StorageType") == "gp3" and database.allocated_bytes < GP3_THRESHOLD:
        fixed = ("iops", "storage_throughput")
        found = tuple(replace(s, argument=None, option=None) if s.argument in fixed else s for s in found)
    return Server(
        kind,
        identifier=database.identifier,
        resource_id=database.resource_id,
        arn=database.arn,
        hosts=database.hosts,
        # What a member has of its own is a setting of it.
        group="" if kind == "member" else database.parameter_group,
        settings=found,
        tags={k: v for k, v in sorted(database.tags.items()) if not k.startswith(AWS_PREFIX)},
        replicas=database.read_replicas,
        backups_elsewhere=database.backups_elsewhere,
    )


def group_of(aws: Aws, words: Words, name: str) -> ParameterGroup | None:
    """The group with what someone set in it; None where AWS says that there is none."""
    group = reads.parameter_group(aws, words, name)
    parameters = reads.parameters(aws, words, name) if group else None
    if group is None or parameters is None:
        return None
    return ParameterGroup(
        noun=words.group,
        name=group.name,
        tags={k: v for k, v in sorted(group.tags.items()) if not k.startswith(AWS_PREFIX)},
        parameters=tuple(
            Parameter(p.name, p.value, p.method)
            for p in sorted(parameters, key=lambda p: p.name)
            if p.user and p.value is not None
        ),
    )
