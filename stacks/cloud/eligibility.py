"""Whether a server can be the source of a migration: one verdict for `init`, the Pulumi program and preflight. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from encryptdb.stacks.cloud.database import Cluster, Database, Instance, same_key
from encryptdb.stacks.contract import names

OLDEST, NEWEST = 13, 18
"""Majors of PostgreSQL whose log messages, catalogs and fences are known (docs/preflight.md)."""

ONLY = "Name an RDS for PostgreSQL instance, or an Aurora PostgreSQL cluster."


@dataclass(frozen=True)
class Ineligible:
    """Why not. `key` is the config key to change; `instead` is the identifier of the server to name, where one is
    known; `passes` is whether it comes right by itself."""

    message: str
    detail: str
    hint: str
    key: str = "source"
    instead: str | None = None
    passes: bool = False


def ineligible(source: Database, stack: str, kms_key_arn: str | None = None) -> Ineligible | None:
    """The first reason why `source` cannot be the source of `stack`, or None. `kms_key_arn` is the key to encrypt
    under, where one is chosen already."""
    return next(reasons(source, stack, kms_key_arn), None)


def reasons(source: Database, stack: str, kms_key_arn: str | None = None) -> Iterator[Ineligible]:
    """Every reason, the most general one first."""
    if isinstance(source, Instance):
        yield from _instance(source)
    elif isinstance(source, Cluster):
        yield from _cluster(source)
    name = source.identifier
    if source.tags.get(names.STACK) == stack:
        yield Ineligible(
            f"{name} is the stack {stack}'s own target (attempt {source.tags.get(names.ATTEMPT, '?')}).",
            "It is what that stack has encrypted.",
            "Name what is to be encrypted. To encrypt a target once more, under another key, use a stack of its own.",
        )
    if source.encrypted and same_key(source.kms_key_arn, kms_key_arn):
        yield Ineligible(
            f"{name} is encrypted under {source.kms_key_arn} already.",
            "There is nothing to be done.",
            "Name another key that it is to be encrypted under.",
            key="kmsKey",
        )
    major = source.engine_version.partition(".")[0]
    if major.isdecimal() and not OLDEST <= int(major) <= NEWEST:
        yield Ineligible(
            f"{name} runs PostgreSQL {source.engine_version}.",
            f"PostgreSQL {OLDEST} to {NEWEST} are supported.",
            "Upgrade its major version first." if int(major) < OLDEST else "Use a newer version of encryptdb.",
        )
    if not source.complete:
        yield Ineligible(
            f"{name} is {source.status or 'still being made'} and has no endpoint yet.",
            "What it is going to be, and what names it, is not known before.",
            "Wait until it is available.",
            passes=True,
        )


def _instance(source: Instance) -> Iterator[Ineligible]:
    name = source.identifier
    if source.member_of:
        yield Ineligible(
            f"{name} is an instance of the cluster {source.member_of}.",
            "Storage, and with it encryption, is the cluster's.",
            f"Name {source.member_of} instead.",
            instead=source.member_of,
        )
    elif source.engine != "postgres":
        yield Ineligible(f"{name} runs {source.engine}.", "Only PostgreSQL can be encrypted here.", ONLY)
    if source.replica_of:
        primary = source.replica_of.rpartition(":")[2]
        yield Ineligible(
            f"{name} is a read replica of {source.replica_of}.",
            "A replica is read-only: nothing can be prepared on it, and its applications' writes go elsewhere.",
            f"Name {primary} instead, or promote the replica first.",
            instead=primary,
        )


def _cluster(source: Cluster) -> Iterator[Ineligible]:
    name = source.identifier
    if source.engine == "postgres":
        yield Ineligible(
            f"{name} is a Multi-AZ DB cluster (engine postgres), not an Aurora cluster.",
            "Only RDS instances and Aurora clusters can be encrypted here.",
            "Restore it to an RDS instance first.",
        )
    elif source.engine != "aurora-postgresql":
        yield Ineligible(f"{name} runs {source.engine}.", "Only PostgreSQL can be encrypted here.", ONLY)
    if source.global_cluster or source.engine_mode == "global":
        yield Ineligible(
            f"{name} belongs to a Global Database ({source.global_cluster or 'AWS does not name it'}).",
            "Its secondaries would stay behind, unencrypted.",
            "Take it out of the Global Database first (RemoveFromGlobalCluster), and build a new one from the target.",
        )
    elif source.engine_mode != "provisioned":
        yield Ineligible(
            f"{name} is Serverless v1 (EngineMode {source.engine_mode}).",
            "It has no instances of its own, and no logical replication to rely on.",
            "Convert it to provisioned or Serverless v2 first.",
        )
    if source.scalability == "limitless":
        yield Ineligible(
            f"{name} is an Aurora Limitless Database (ClusterScalabilityType limitless).",
            "Its data is in many shards, each with a log of its own.",
            "It cannot be encrypted this way.",
        )
    if source.replica_of:
        other = ", and the LSNs of RDS and of Aurora have nothing in common." if ":db:" in source.replica_of else "."
        yield Ineligible(
            f"{name} replicates {source.replica_of}.",
            f"A replica has no writer{other}",
            "Promote it to a cluster of its own first, and send its applications there.",
        )
    if not source.missing and not any(m.writer for m in source.members):
        yield Ineligible(
            f"{name} has no instance that takes writes.",
            "Nothing can be prepared on it.",
            "Add an instance to it first, or wait until the one that is being made is available.",
        )
