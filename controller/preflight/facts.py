"""What the checks decide on: the snapshot that `observe` took, and the readings that checks declare. Frozen values.

A reading that failed is absent, with the problem kept beside; it never reads as empty.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, Literal, TypeVar

from encryptdb.controller.next_line import next_attempt
from encryptdb.controller.observed_server import Database, DatabaseObjects, ObservedServer
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Db, SideName, rows_of
from encryptdb.controller.state import State
from encryptdb.stacks.cloud.words import WORDS, Words
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Outputs, Side

T = TypeVar("T")


class Stage(IntEnum):
    """How far the migration is, as far as a check must know. OPEN is also everything after it."""

    UNPREPARED = 0
    PREPARED = 1
    RESTORED = 2
    OPEN = 3


@dataclass(frozen=True, eq=False)
class Reading(Generic[T]):
    """What is read for checks beyond the snapshot. It is read once, however many checks use it: `per` server or moving
    database on a connection to it, or per migration, with the Migration at hand and beside the servers.

    `origin` is what does not answer where a reading per migration fails.
    """

    name: str
    per: Literal["server", "database", "migration"]
    read: Callable[[Any], T]
    origin: Literal["source", "aws"] = "source"


def rows(kind: type[T], query: str) -> Callable[[Db], tuple[T, ...]]:
    """Read all rows of a query, each as `kind`."""
    return lambda connection: tuple(rows_of(connection, kind, query.encode()))


def row(kind: type[T], query: str) -> Callable[[Db], T]:
    """Read the one row of a query as `kind`."""
    return lambda connection: rows(kind, query)(connection)[0]


class HiddenSetting(LookupError):
    """A setting that only members of pg_read_all_settings see."""


@dataclass(frozen=True)
class Readings:
    """The readings of one server, database or migration, by their definition. `problem` is the first that failed."""

    readings: Mapping[Reading[Any], Any] = field(default_factory=dict, kw_only=True)
    problem: Problem | None = field(default=None, kw_only=True)

    def __getitem__(self, reading: Reading[T]) -> T:
        found: T = self.readings[reading]
        return found

    def has(self, reads: Iterable[Reading[Any]], per: str) -> bool:
        return all(r in self.readings for r in reads if r.per == per)


@dataclass(frozen=True)
class DatabaseFacts(Readings):
    """One database that moves. `objects` is None where it takes no connections or could not be read."""

    observed: Database
    objects: DatabaseObjects | None

    @property
    def oid(self) -> int:
        return self.observed.oid

    @property
    def name(self) -> str:
        return self.observed.name


@dataclass(frozen=True)
class ServerFacts(Readings):
    """One server. `user` is the controller's role on it, `moving` the databases that move."""

    side: SideName
    user: str
    observed: ObservedServer
    moving: tuple[DatabaseFacts, ...]

    @property
    def major(self) -> int:
        return self.observed.version // 10000

    def setting(self, name: str) -> str:
        """Raises HiddenSetting where the role may not see it."""
        if name not in self.observed.settings:
            raise HiddenSetting(name)
        return self.observed.settings[name]

    def number(self, name: str) -> int:
        return int(self.setting(name))

    def complete(self, reads: Iterable[Reading[Any]]) -> bool:
        """Whether everything a check reads of this server and its databases is there."""
        reads = tuple(reads)
        inside = any(r.per == "database" for r in reads)
        return self.has(reads, "server") and (
            not inside or all(d.objects is not None and d.has(reads, "database") for d in self.moving)
        )


@dataclass(frozen=True)
class Facts(Readings):
    """Everything. A server is None where the stack has none, or where `unavailable` says why it cannot be read."""

    outputs: Outputs
    names: Names
    stage: Stage
    source: ServerFacts | None
    target: ServerFacts | None
    unavailable: Mapping[str, Problem] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[ServerFacts, ...]:
        """The servers to check. After OPEN nothing that is still to do needs the source."""
        sides = (None if self.stage == Stage.OPEN else self.source, self.target)
        return tuple(s for s in sides if s is not None)

    def server(self, side: SideName) -> ServerFacts | None:
        return self.source if side == "source" else self.target

    @property
    def words(self) -> Words:
        """What this engine's things are called."""
        return WORDS[self.outputs.engine]

    def known(self, side: str) -> Side:
        """One side as the stack knows it; the source where there is no target."""
        return self.outputs.target if side == "target" and self.outputs.target is not None else self.outputs.source

    def group(self, side: str) -> str:
        """The stack's parameter group of one side."""
        outputs = self.outputs
        return (outputs.target_parameter_group if side == "target" else outputs.source_parameter_group) or "GROUP"

    def ours(self, name: str) -> bool:
        """Whether a slot, subscription or walsender has a name that this stack gives."""
        return re.fullmatch(re.escape(self.names.publication) + r"_\d+(_back)?", name) is not None

    def controller(self, command: str) -> str:
        """A command line of the controller; `command` may hold options."""
        return f"encryptdb {command} --stack {self.outputs.stack}"

    @property
    def up(self) -> str:
        return f"pulumi up --stack {self.outputs.stack}"

    def config(self, key: str, value: object) -> str:
        return f"pulumi config set encryptdb:{key} {value} --stack {self.outputs.stack} && {self.up}"

    @property
    def new_attempt(self) -> str:
        """The commands that give this attempt up and begin the next one."""
        return next_attempt(self.outputs)


STAGE_OF: Mapping[State, Stage] = {
    State.NOT_PREPARED: Stage.UNPREPARED,
    State.PREPARED: Stage.PREPARED,
    State.RESTORED: Stage.RESTORED,
    State.REPLICATING: Stage.RESTORED,
    State.CAUGHT_UP: Stage.RESTORED,
    State.MOVING: Stage.RESTORED,
    State.OPEN: Stage.OPEN,
    State.ROLLED_BACK: Stage.OPEN,
    State.RETIRED: Stage.OPEN,
    State.ABANDONED: Stage.UNPREPARED,
    State.UNKNOWN: Stage.UNPREPARED,
}


def stage(outputs: Outputs, state: State) -> Stage:
    """What is checked in a state. A target that is there is checked, whether or not the state is known. Pure."""
    if outputs.phase == "retire":
        return Stage.OPEN
    if outputs.target is not None and state in (State.NOT_PREPARED, State.UNKNOWN):
        return Stage.RESTORED
    return STAGE_OF[state]
