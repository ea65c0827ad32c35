"""Reads from AWS what a new stack's file is made from. Changes nothing.

It fails if the source itself cannot be read. Anything else that cannot be read is listed as unread, with the permission
that is missing, and never reported as absent.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from encryptdb.controller.init import references
from encryptdb.controller.init.found import Alias, Found, holder
from encryptdb.controller.init.references import Unread
from encryptdb.controller.init.refusals import not_found, refuse
from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.words import CLUSTER
from encryptdb.stacks.contract.errors import Problem, Refused

T = TypeVar("T")


def look_at(aws: Aws, identifier: str, stack: str) -> Found:
    """Everything about the source `identifier`. Raises Failed if AWS does not answer; Refused, Usage or NotYet if the
    source cannot be encrypted."""
    source = _source(aws, identifier)
    refuse(source, stack)
    hosts = [h for h in (source.host, *source.reader_hosts) if h]
    look = _Look()
    return Found(
        stack=stack,
        region=aws.region,
        source=source,
        holder=holder(look.group_tags(aws, source), source.tags),
        aliases=look.at("the KMS keys of the region", lambda: _aliases(aws)),
        records=look.each("Route 53: records that point to it", lambda: references.records(aws, hosts)),
        proxies=look.each(
            "RDS proxies in front of it",
            lambda: references.proxies(aws, source.identifier, source.words is CLUSTER),
        ),
        secrets=look.each(
            "Secrets Manager: secrets that point to it",
            lambda: references.secrets(aws, source.identifier, hosts),
        ),
        unread=tuple(look.unread),
    )


class _Look:
    """Collects what could not be read."""

    def __init__(self) -> None:
        self.unread: list[Unread] = []

    def at(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Problem as problem:
            self.unread.append(Unread.of(what, problem))
            return None

    def each(self, what: str, read: Callable[[], Iterable[T | Unread]]) -> tuple[T, ...]:
        found: list[T] = []
        for one in self.at(what, read) or ():
            if isinstance(one, Unread):
                self.unread.append(one)
            else:
                found.append(one)
        return tuple(found)

    def group_tags(self, aws: Aws, source: Database) -> Mapping[str, str]:
        """The tags of the source's own parameter group. AWS's default groups have none."""
        name, words = source.parameter_group, source.words
        if not name or name.startswith("default."):
            return {}
        about = f"the tags of the parameter group {name}"
        group = self.at(about, lambda: reads.parameter_group(aws, words, name))
        return group.tags if group else {}


def _source(aws: Aws, identifier: str) -> Database:
    """The instance or cluster of this name. Raises Refused if both an instance and a cluster have it."""
    found = [d for d in (reads.instance(aws, identifier), reads.cluster(aws, identifier)) if d is not None]
    alone = [d for d in found if d.member_of is None]
    if len(alone) > 1:
        raise Refused(
            f"{identifier} is the name of an RDS instance and of a cluster.",
            hint="Rename one of the two, so that it is plain which one is meant.",
        )
    if not found:
        raise not_found(identifier, aws.region, _known(aws))
    # An instance of a cluster is found, too, so that it can be said what it is.
    return (alone or found)[0]


def _known(aws: Aws) -> tuple[str, ...] | None:
    """The names of all instances that are no cluster's, and of all clusters; None where they cannot be listed."""
    try:
        instances, clusters = reads.databases(aws)
    except Problem:
        return None
    return tuple(d.identifier for d in (*instances, *clusters) if d.member_of is None)


def _aliases(aws: Aws) -> tuple[Alias, ...]:
    """The aliases of the region that lead to a key. One of AWS's own leads to none before its first use."""
    listed = aws.pages("kms", "list_aliases", "Aliases")
    return tuple(Alias(a["AliasName"], a["TargetKeyId"]) for a in listed if a.get("TargetKeyId"))
