"""What the control databases remember: every record, its version, and what happens to it at a move. Pure.

A row of encryptdb.record holds a record's key, its version and its fields as a JSON object (LSNs as `X/Y`, times in
ISO 8601 with their offset). A record whose meaning or fields change gets a higher version.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Literal

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.record_values import (
    Candidate,
    ClosedDatabase,
    DatabaseName,
    Heartbeat,
    MoveResult,
    NotCovered,
    PreparedSlot,
    Proof,
)

About = Literal["source", "target", "both", "its own"]
"""Which side a record speaks about: `its own` is the one whose control database holds it."""


class Record:
    """One record. A subclass is a frozen dataclass and declares:

    carried: copied before OPEN to the arriving side, which decides from then on.
    cleared: belongs to one epoch, so it is removed at OPEN: on the arriving side in the transaction that opens it, on
        the side that was left when its lasting fence is up.
    reported: shown by the report.
    """

    key: ClassVar[str]
    version: ClassVar[int]
    about: ClassVar[About]
    carried: ClassVar[bool]
    cleared: ClassVar[bool]
    reported: ClassVar[bool]

    def __init_subclass__(
        cls,
        *,
        key: str,
        about: About,
        version: int = 1,
        carried: bool = False,
        cleared: bool = False,
        reported: bool = False,
    ) -> None:
        cls.key, cls.version, cls.about = key, version, about
        cls.carried, cls.cleared, cls.reported = carried, cleared, reported


@dataclass(frozen=True)
class Identity(Record, key="identity", about="both", carried=True, reported=True):
    """Whose migration this is, and which attempt. The copy has the same one, because it came with the snapshot."""

    stack: str
    attempt: int
    source_resource_id: str
    started: datetime

    def __str__(self) -> str:
        return f"stack {self.stack}, attempt {self.attempt}, of {self.source_resource_id}, begun {self.started}"


@dataclass(frozen=True)
class Databases(Record, key="databases", about="both", carried=True, reported=True):
    """The databases that move."""

    listed: tuple[DatabaseName, ...]


@dataclass(frozen=True)
class Parameters(Record, key="parameters", about="source", carried=True, reported=True):
    """The parameter group that the source had before `prepare` attached another one."""

    before: str


@dataclass(frozen=True)
class Heartbeats(Record, key="heartbeats", about="source", carried=True, reported=True):
    """The heartbeat that every snapshot of this migration must hold, by database name."""

    databases: dict[str, Heartbeat]


@dataclass(frozen=True)
class Prepared(Record, key="prepared", about="source", carried=True, reported=True):
    """`prepare` has finished. The prepared parameter in SSM holds the same fields. `slots` by database name."""

    source_resource_id: str
    attempt: int
    slots: dict[str, PreparedSlot]
    time: datetime


@dataclass(frozen=True)
class Isolated(Record, key="isolated", about="its own"):
    """The restored copy was isolated."""

    attempt: int


@dataclass(frozen=True)
class ExactLSN(Record, key="exact_lsn", about="both", carried=True, reported=True):
    """The exact LSN of the copy `target_resource_id`, its candidates and its proof. `remarks` are for the operator."""

    value: LSN
    candidates: tuple[Candidate, ...]
    proof: Proof
    remarks: tuple[str, ...] = ()
    target_resource_id: str | None = None


@dataclass(frozen=True)
class CaughtUp(Record, key="caught_up", about="both", carried=True, reported=True):
    """The target was seen to have applied these heartbeats: their `n` by database name."""

    databases: dict[str, int]


@dataclass(frozen=True)
class Verify(Record, key="verify", about="both", carried=True, reported=True):
    """What the last comparison found. `point` (the LSN of the comparison) and `not_covered` by database name;
    `differing` and `not_compared` hold at most 100 each."""

    by: str
    at: datetime
    equal: bool
    publisher: SideName
    tables: int
    rows: int
    point: dict[str, LSN]
    writers_waited_ms: float
    differing: tuple[str, ...]
    not_compared: tuple[str, ...]
    not_covered: dict[str, tuple[NotCovered, ...]]


@dataclass(frozen=True)
class ConnectPrivileges(Record, key="connect_privileges", about="its own"):
    """The databases that are closed, by oid: written in the transaction that closes them, removed in that which opens
    them."""

    databases: dict[int, ClosedDatabase]


@dataclass(frozen=True)
class LargeObjects(Record, key="large_objects", about="its own"):
    """How much had been written to large objects while nobody could write here, by database name."""

    databases: dict[str, int | None]


@dataclass(frozen=True)
class DisabledSubscriptions(Record, key="disabled_subscriptions", about="its own"):
    """The owner's own subscriptions that a move has disabled, by database name, to be enabled where it is undone."""

    databases: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Moving(Record, key="moving", about="its own", cleared=True):
    """On the side that is being left, from just before the pause until the move has ended, either way."""

    direction: Literal["cutover", "rollback"]
    by: str


@dataclass(frozen=True)
class Open(Record, key="open", about="its own", cleared=True, reported=True):
    """The side was opened. Its epoch is one higher than any before; the end markers' LSNs are by database name."""

    epoch: int
    at: datetime
    side: SideName
    rollback_path: bool
    end_lsns: dict[str, LSN]
    steps_ms: dict[str, float]


@dataclass(frozen=True)
class ReaderProbe(Record, key="reader_probe", about="its own"):
    """Written through the endpoint of the side that was opened, to be read through its readers."""

    epoch: int


@dataclass(frozen=True)
class Switched(Record, key="switched", about="both", cleared=True):
    """Every switch was applied and has settled."""

    switches: tuple[str, ...]


@dataclass(frozen=True)
class SideClosed(Record, key="side_closed", about="both", cleared=True):
    """The side that was left is closed to applications for good; held by the side that serves."""

    side: SideName


@dataclass(frozen=True)
class Cutover(MoveResult, Record, key="cutover", about="both", cleared=True, reported=True):
    """The cutover has finished: the document of the command."""


@dataclass(frozen=True)
class Rollback(MoveResult, Record, key="rollback", about="both", cleared=True, reported=True):
    """The rollback has finished: the document of the command."""


@dataclass(frozen=True)
class Abandoned(Record, key="abandoned", about="both", reported=True):
    """The attempt was abandoned: neither side may be cut over any more."""

    attempt: int
    at: datetime
    by: str


@dataclass(frozen=True)
class Retired(Record, key="retired", about="both"):
    """The migration was retired. `evidence` is the report's data, because the databases that hold it go."""

    at: datetime
    by: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The records of one control database: each under its key, None where it is not there. Empty is false."""

    identity: Identity | None = None
    databases: Databases | None = None
    parameters: Parameters | None = None
    heartbeats: Heartbeats | None = None
    prepared: Prepared | None = None
    isolated: Isolated | None = None
    exact_lsn: ExactLSN | None = None
    caught_up: CaughtUp | None = None
    verify: Verify | None = None
    connect_privileges: ConnectPrivileges | None = None
    large_objects: LargeObjects | None = None
    disabled_subscriptions: DisabledSubscriptions | None = None
    moving: Moving | None = None
    open: Open | None = None
    reader_probe: ReaderProbe | None = None
    switched: Switched | None = None
    side_closed: SideClosed | None = None
    cutover: Cutover | None = None
    rollback: Rollback | None = None
    abandoned: Abandoned | None = None
    retired: Retired | None = None

    def __iter__(self) -> Iterator[Record]:
        return (found for field in fields(self) if (found := getattr(self, field.name)) is not None)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    @property
    def epoch(self) -> int:
        """The epoch in which this side was last opened; 0 where it never was.

        Each OPEN writes an epoch one higher than any before, in the transaction that opens a side. The side with the
        higher one serves; where neither has one, nothing was ever moved and the source serves.
        """
        return self.open.epoch if self.open else 0

    @property
    def closed(self) -> set[str]:
        """Names of the databases of this side that the lasting fence closes."""
        return {was.name for was in self.connect_privileges.databases.values()} if self.connect_privileges else set()


CLASSES: dict[str, type[Record]] = {cls.key: cls for cls in Record.__subclasses__()}
"""Every record by its key."""

CLEARED = tuple(cls for cls in CLASSES.values() if cls.cleared)
"""Records of one epoch: an earlier one's would be taken for those of the next."""
