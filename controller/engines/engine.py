"""What the controller reads and changes of a database server in AWS. `rds` and `aurora` hold the differences."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from encryptdb.controller.engines.settings import ParameterGroup, Server, group_of, servers_of
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.answers import is_encrypted
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.cloud.database import BROKEN, Database, Instance
from encryptdb.stacks.cloud.words import Words
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import AGAIN, Failed
from encryptdb.stacks.contract.names import Ending
from encryptdb.stacks.contract.outputs import Side

SETTLED_SECONDS = 3600.0
"""How long to wait for a reboot or modification."""


@dataclass(frozen=True)
class Log:
    """Where the server log of the writer is.

    `instance` names its files in the RDS API, `group` is the CloudWatch group, `stream` the instance's stream in it
    (None: the only one). Lines before `since` came from the source.
    """

    instance: str
    since: datetime | None
    group: str
    stream: str | None = None


@dataclass(frozen=True)
class Leftover:
    """Something that may hold plaintext, and the command that removes it."""

    kind: str
    name: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        return vars(self).copy()


class Engine(ABC):
    """RDS or Aurora. Every method that calls AWS raises Failed."""

    words: ClassVar[Words]
    seed_function: ClassVar[str]
    """AWS's own function that names the exact LSN; called on the copy."""
    keeps_wal: ClassVar[bool]
    """Whether the copy's WAL can be looked into (pg_walinspect)."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    @abstractmethod
    def find(self, identifier: str) -> Database | None:
        """The server of that name, or None if AWS has none."""

    @abstractmethod
    def all(self) -> tuple[Database, ...]:
        """Every server of this engine's kind in the region."""

    @abstractmethod
    def attach_parameter_group(self, identifier: str, group: str) -> None:
        """Attach a parameter group, effective at the next reboot."""

    @abstractmethod
    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        """Reboot the instances whose parameters are pending, and wait until all are available and in sync."""

    @abstractmethod
    def log(self, identifier: str) -> Log:
        """Where the server log is."""

    @abstractmethod
    def free_bytes(self, identifier: str) -> tuple[int | None, str | None]:
        """Free storage in bytes, or why it is unknown; neither if storage grows by itself."""

    @abstractmethod
    def delete(self, found: Database) -> None:
        """Delete it with its automated backups, without a final snapshot."""

    @abstractmethod
    def relatives(self, found: Database) -> Iterator[Leftover]:
        """Replicas and clones, which hold the same plaintext."""

    def the(self, identifier: str) -> Database:
        """The server of that name. Raises Failed if it does not exist."""
        found = self.find(identifier)
        if found is None:
            raise Failed(
                f"The {self.words.noun} {identifier!r} does not exist in {self.aws.region}.",
                hint="Was it renamed or deleted? Check the stack's outputs and the region.",
            )
        return found

    def find_by_resource_id(self, resource_id: str) -> Database | None:
        """The server under its current name; None if it was deleted."""
        return next((d for d in self.all() if d.resource_id == resource_id), None)

    def tag_ending(self, identifier: str, ending: Ending) -> None:
        """Tag the server with the end of its migration, which outlives the control databases. Raises Failed."""
        tags = [{"Key": names.STATE, "Value": str(ending)}]
        self.aws.call("rds", "add_tags_to_resource", ResourceName=self.the(identifier).arn, Tags=tags)

    def readers(self, side: Side) -> tuple[Instance, ...]:
        """The read-only instances of this side. Raises Failed if the side does not exist."""
        return self.the(side.identifier).readers

    def wait_applied(self, identifier: str, reporter: Reporter, clock: Clock) -> Database:
        """Wait until all of it is available and the group is attached (in-sync or pending-reboot)."""
        attached = ("in-sync", "pending-reboot")
        return self.settle(identifier, lambda found: found.parameter_status in attached, reporter, clock)

    def settle(self, identifier: str, ready: Callable[[Database], bool], reporter: Reporter, clock: Clock) -> Database:
        """Wait until all of it is available and `ready`. Raises Failed if it is broken, or after SETTLED_SECONDS."""
        seen = "unknown"

        def probe() -> Database | None:
            nonlocal seen
            found = self.the(identifier)
            seen = f"{found.identifier} is {found.overall_status}, its parameters are {found.parameter_status}"
            if found.overall_status in BROKEN:
                raise Failed(
                    f"{found.identifier} is {found.overall_status}.",
                    detail="It does not become available by itself.",
                    hint=f"See {self.words.events(identifier)} and its log, correct the cause, then: {AGAIN}",
                )
            return found if found.serving and ready(found) else None

        return wait_until(
            probe,
            what=f"the {self.words.noun} to become available, with its parameters",
            seconds=SETTLED_SECONDS,
            every=0.5,
            reporter=reporter,
            clock=clock,
            progress=lambda: seen,
        )

    def reboot(self, instance: str) -> None:
        self.aws.call("rds", "reboot_db_instance", DBInstanceIdentifier=instance)

    def user_parameters(self, group: str) -> Mapping[str, str] | None:
        """The parameters set in the group, or None if it does not exist."""
        found = reads.parameters(self.aws, self.words, group)
        return None if found is None else {p.name: p.value for p in found if p.user and p.value is not None}

    def servers(self, resource_id: str) -> tuple[Server, ...]:
        """The settings of the server and then of its members, the writer first; empty if it is (being) deleted."""
        return self._servers(lambda found: found.resource_id == resource_id)

    def tagged(self, stack: str) -> tuple[Server, ...]:
        """The same of every server with the stack's tag."""
        return self._servers(lambda found: found.tags.get(names.STACK) == stack)

    def _servers(self, wanted: Callable[[Database], bool]) -> tuple[Server, ...]:
        return tuple(s for d in self.all() if wanted(d) and not d.deleting for s in servers_of(d))

    def parameter_group(self, name: str) -> ParameterGroup | None:
        """A parameter group of this engine's kind, or None."""
        return group_of(self.aws, self.words, name)

    def leftovers(self, source: Side, stack: str) -> Iterator[Leftover]:
        """Everything unencrypted in AWS that came from this source."""
        found = self.find_by_resource_id(source.resource_id)
        if found is not None and not found.encrypted:
            delete = f"encryptdb retire --stack {stack} --delete-source {found.identifier}"
            yield Leftover(self.words.noun, found.identifier, delete)
        if found is not None:
            yield from self.relatives(found)
        for snapshot in reads.snapshots(self.aws, self.words):
            identifier, resource_id = snapshot.of
            ours = resource_id == source.resource_id or identifier == source.identifier
            if not ours or snapshot.encrypted:
                continue
            if snapshot.tags.get(names.STACK) == stack:
                remedy = f"pulumi config set encryptdb:phase retire --stack {stack} && pulumi up --stack {stack}"
                yield Leftover("snapshot", snapshot.identifier, remedy)
            elif snapshot.automated:
                yield Leftover("automated snapshot", snapshot.identifier, "goes with the source")
            else:
                yield Leftover("snapshot", snapshot.identifier, self.words.delete_snapshot(snapshot.identifier))
        yield from self._backups(source.resource_id)
        prefix = f"/aws/rds/{self.words.noun}/{source.identifier}/"
        for group in self.aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix):
            # Logged statements contain data, in plaintext unless the group has a key.
            if not group.get("kmsKeyId"):
                name = group["logGroupName"]
                yield Leftover("log group", name, f"aws logs delete-log-group --log-group-name {name}")

    def _backups(self, resource_id: str) -> Iterator[Leftover]:
        noun, key = self.words.noun, self.words.resource_id
        try:
            answer = self.aws.call("rds", f"describe_db_{noun}_automated_backups", **{key: resource_id})
        except NotFound:
            return
        option = "dbi-resource-id" if key == "DbiResourceId" else "db-cluster-resource-id"
        delete = f"aws rds delete-db-{noun}-automated-backup --{option} {resource_id}"
        for backup in answer.get(f"DB{noun.title()}AutomatedBackups", ()):
            if not is_encrypted(backup):
                remedy = delete if backup.get("Status") == "retained" else "go with the source"
                yield Leftover("automated backups", backup.get(key, resource_id), remedy)
