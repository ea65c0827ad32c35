"""Why there is no stack for a source. Pure: each raises what the Pulumi program or the controller would say later."""

import difflib
import re
from collections.abc import Collection

from encryptdb.controller.survey.found import STACK_TAG, Source
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused, Usage

_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9])*", re.ASCII)
_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)

ONLY = "Name an RDS for PostgreSQL instance, or an Aurora PostgreSQL cluster."


def identifier(given: str) -> str:
    """SOURCE as RDS keeps it: in lower case. Raises Usage."""
    if given.startswith("arn:"):
        raise Usage(
            f"{given} is an ARN.",
            detail="A source is named by its DBInstanceIdentifier or DBClusterIdentifier.",
            hint=f"Say {given.rpartition(':')[2] or 'the identifier'} (the region is that of --region, AWS_REGION or "
            "your profile).",
        )
    name = given.lower()
    if len(name) > 63 or not _IDENTIFIER.fullmatch(name):
        raise Usage(
            f"{given!r} cannot be the identifier of an RDS instance or cluster.",
            hint="Up to 63 letters, digits and single hyphens, beginning with a letter.",
        )
    return name


def stack_name(given: str) -> str:
    """The stack's name. Raises Usage where Pulumi would not take it."""
    if not _STACK.fullmatch(given) or given.strip(".") == "":
        raise Usage(
            f"{given!r} is no name for a stack.",
            detail="Pulumi takes letters, digits, - _ . and at most 100 of them (without organization and project).",
            hint="Give another one with --stack.",
        )
    return given


def not_found(name: str, region: str, known: Collection[str] | None) -> Problem:
    """No instance and no cluster has this name; `known` are those of the region, None where they cannot be listed."""
    near = difflib.get_close_matches(name, known or (), 3, 0.5) or sorted(known or ())[:5]
    if known is None:
        there = "What there is could not be listed."
    elif near:
        there = f"There is {', '.join(near)}."
    else:
        there = "There is no RDS instance and no cluster at all."
    return Usage(
        f"There is no RDS instance and no Aurora cluster {name} in {region}.",
        detail=there,
        hint="Check the spelling, the region (--region) and the account that the credentials are of.",
    )


def refuse(source: Source, stack: str) -> None:
    """Raises Refused where the source cannot be encrypted here, NotYet while it is being made."""
    (_refuse_cluster if source.cluster else _refuse_instance)(source)
    if source.tags.get(STACK_TAG) == stack:
        raise Refused(
            f"{source.identifier} is the stack {stack}'s own target.",
            detail="It is what that stack has encrypted.",
            hint="Name what is to be encrypted. To encrypt a target once more, under another key, use a stack of its "
            "own (--stack).",
        )
    if source.host is None:
        raise NotYet(
            f"{source.identifier} is {source.status or 'still being made'} and has no endpoint yet.",
            detail="What names it cannot be found without.",
            hint="Run this again when it is available.",
        )


def _refuse_instance(source: Source) -> None:
    if source.member_of:
        raise Refused(
            f"{source.identifier} is an instance of the cluster {source.member_of}.",
            detail="Storage, and with it encryption, is the cluster's.",
            hint=f"Run `python -m controller init {source.member_of}`.",
        )
    if source.engine != "postgres":
        raise Refused(f"{source.identifier} runs {source.engine}.", hint=ONLY)
    if source.replica_of:
        of = source.replica_of.rpartition(":")[2]
        raise Refused(
            f"{source.identifier} is a read replica of {source.replica_of}.",
            detail="A replica is read-only: nothing can be prepared on it, and its applications' writes go elsewhere.",
            hint=f"Run `python -m controller init {of}`, or promote the replica first.",
        )


def _refuse_cluster(source: Source) -> None:
    name = source.identifier
    if source.engine == "postgres":
        raise Refused(
            f"{name} is a Multi-AZ DB cluster (engine postgres), not an Aurora cluster.",
            detail="Only RDS instances and Aurora clusters can be encrypted here.",
            hint="Restore it to an RDS instance first.",
        )
    if source.engine != "aurora-postgresql":
        raise Refused(f"{name} runs {source.engine}.", hint=ONLY)
    if source.global_cluster or source.engine_mode == "global":
        raise Refused(
            f"{name} belongs to a Global Database ({source.global_cluster or 'AWS does not name it'}).",
            detail="Its secondaries would stay behind, unencrypted.",
            hint="Take it out of the Global Database first (RemoveFromGlobalCluster), and build a new one from the "
            "target.",
        )
    if source.engine_mode != "provisioned":
        raise Refused(
            f"{name} is Serverless v1 (EngineMode {source.engine_mode}).",
            detail="It has no instances of its own, and no logical replication to rely on.",
            hint="Convert it to provisioned or Serverless v2 first.",
        )
    if source.scalability == "limitless":
        raise Refused(
            f"{name} is an Aurora Limitless Database (ClusterScalabilityType limitless).",
            detail="Its data is in many shards, each with a log of its own.",
            hint="It cannot be encrypted this way.",
        )
    if source.replica_of:
        raise Refused(
            f"{name} replicates {source.replica_of}.",
            detail="A replica has no writer.",
            hint="Promote it to a cluster of its own first, and send its applications there.",
        )
    if not source.classes:
        raise Refused(
            f"{name} has no instance.",
            detail="Nothing can be read from it.",
            hint="Add an instance to it first.",
        )
