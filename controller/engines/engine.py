"""What the controller asks of AWS about a database server, whichever engine it runs: one protocol, and what both
implementations share."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from encryptdb.controller.engines.description import Description, Leftover, Log, Member
from encryptdb.controller.engines.settings import ParameterGroup, Server
from encryptdb.controller.engines.words import Words
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.errors import Failed
from encryptdb.stacks.contract.outputs import Side

AVAILABLE_SECONDS = 3600.0
"""How long a reboot or modification may take before we stop waiting (it goes on without us)."""

BROKEN = frozenset({"failed", "incompatible-parameters", "incompatible-restore", "storage-full"})
"""States that a server does not leave by itself."""


class Engine(Protocol):
    """RDS or Aurora. Every method that asks AWS raises Failed where AWS does not tell."""

    words: Words
    seed_function: str
    """AWS's own function that names the exact LSN; called on the copy."""
    keeps_wal: bool
    """Whether the copy's WAL can be looked into (pg_walinspect)."""

    def find(self, identifier: str) -> Description | None:
        """The server of that name, or None where AWS says that there is none."""

    def find_by_resource_id(self, resource_id: str) -> Description | None:
        """The server, whatever it is called now; None where it is gone."""

    def readers(self, side: Side) -> tuple[Member, ...]:
        """The instances of this side that only read, as AWS lists them now. Raises Failed where the side is gone."""

    def attach_parameter_group(self, identifier: str, group: str) -> None:
        """Attach a parameter group. It acts at the next reboot; this call never reboots."""

    def wait_applied(self, identifier: str, reporter: Reporter, clock: Clock) -> Description:
        """Wait until all is available and the group is attached, be it that a reboot is still to come."""

    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        """Reboot whatever its parameter group waits for, and wait until all is available and in sync. Clients are
        disconnected, and can come back when it is up."""

    def log(self, identifier: str) -> Log:
        """Where the server log is."""

    def user_parameters(self, group: str) -> Mapping[str, str] | None:
        """The parameters that someone set in the group, or None where there is no such group."""

    def free_bytes(self, identifier: str) -> tuple[int | None, str | None]:
        """Free storage in bytes, or why it is not known; neither, where storage grows by itself."""

    def leftovers(self, source: Side, stack: str) -> Iterator[Leftover]:
        """Everything in AWS, now, that came from this source and is not encrypted."""

    def delete(self, found: Description) -> None:
        """Delete it for good, without a final snapshot, with its automated backups."""

    def servers(self, resource_id: str) -> tuple[Server, ...]:
        """Every setting of the server, whatever it is called now, and after it of its members, the writer first.
        None of them where it is gone, or going."""

    def tagged(self, stack: str) -> tuple[Server, ...]:
        """The same of every server that carries the stack's tag, one after the other."""

    def parameter_group(self, name: str) -> ParameterGroup | None:
        """A parameter group as the server takes one, or None where there is none of that name."""


def the(engine: Engine, identifier: str, region: str) -> Description:
    """The server of that name. Raises Failed where there is none."""
    found = engine.find(identifier)
    if found is None:
        raise Failed(
            f"There is no {engine.words.noun} {identifier!r}.",
            detail=f"AWS says so, in region {region}.",
            hint="Was it renamed or deleted? Check the stack's outputs and the region.",
        )
    return found


def settle(
    look: Callable[[], Description], *, ready: Callable[[Description], bool], reporter: Reporter, clock: Clock
) -> Description:
    """Wait until all of it is available, and `ready`."""
    seen = "nothing yet"

    def probe() -> Description | None:
        nonlocal seen
        found = look()
        seen = f"{found.identifier} is {found.status}, its parameters are {found.parameter_status}"
        if found.status in BROKEN:
            raise Failed(
                f"{found.identifier} is {found.status}.",
                detail="It will not become available by itself.",
                hint="See its events (aws rds describe-events) and its error log, mend that, then run this again.",
            )
        return found if found.status == "available" and ready(found) else None

    return wait_until(
        probe,
        what="the database to be available, with its parameters",
        seconds=AVAILABLE_SECONDS,
        every=0.5,
        reporter=reporter,
        clock=clock,
        progress=lambda: seen,
    )


def in_sync(found: Description) -> bool:
    """Whether no parameter waits for anything."""
    return found.parameter_status == "in-sync"


def applied(found: Description) -> bool:
    """Whether the parameter group is attached, be it that a reboot is still to come."""
    return found.parameter_status in ("in-sync", "pending-reboot")


def user_parameters(aws: Aws, operation: str, **group: str) -> dict[str, str] | None:
    try:
        found = list(aws.pages("rds", operation, "Parameters", **group, Source="user"))
    except NotFound:
        return None
    return {p["ParameterName"]: p["ParameterValue"] for p in found if p.get("ParameterValue") is not None}


def snapshot_leftover(snapshot: Mapping[str, Any], name: str, delete: str, stack: str) -> Leftover:
    """A snapshot that is not encrypted, and what removes it."""
    tags = {t["Key"]: t["Value"] for t in snapshot.get("TagList") or ()}
    if tags.get("encryptdb:stack") == stack:
        return Leftover("snapshot", name, f"set phase to retire in the stack {stack}, then pulumi up")
    if snapshot.get("SnapshotType") == "automated":
        return Leftover("automated snapshot", name, "goes with the source")
    return Leftover("snapshot", name, f"{delete} {name}")


def log_group_leftovers(aws: Aws, prefix: str) -> Iterator[Leftover]:
    for group in aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix):
        # Unless it has a key of its own, what applications wrote into their statements stands there in the clear.
        if not group.get("kmsKeyId"):
            name = group["logGroupName"]
            yield Leftover("log group", name, f"aws logs delete-log-group --log-group-name {name}")
