"""The values that records hold (`controller.records`), and how records and their values are written as JSON. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import SideName


@dataclass(frozen=True)
class DatabaseName:
    """A database that moves. Source and target share its oid."""

    oid: int
    name: str


@dataclass(frozen=True)
class Heartbeat:
    """A commit: its xid (32 bits), its commit time as the server keeps it, and the insert LSN read after it."""

    xid: int
    at: datetime
    lsn: LSN


@dataclass(frozen=True)
class PreparedSlot:
    """A slot, and its confirmed_flush_lsn when `prepare` ended."""

    name: str
    lsn: LSN | None


class Validity(Enum):
    """When a source's LSN is the end of the copy's recovery. None is believed against the proof."""

    ALWAYS = "always"
    UNLESS_TORN = "unless recovery skipped a torn record"
    UNTIL_CHECKPOINT = "until the copy's next checkpoint, unless recovery skipped a torn record"
    UNTIL_RESTART = "until the copy's first restart"
    FIRST_SHUTDOWN = "if it is the copy's first shutdown checkpoint after the snapshot"


@dataclass(frozen=True)
class Candidate:
    """An LSN at which the copy's recovery may have ended: where it was read, when that source is valid, and what was
    read there."""

    source: str
    lsn: LSN
    valid: Validity
    detail: str


@dataclass(frozen=True)
class Bracket:
    """The bracket of one database: an LSN is exact for it iff `last_included < LSN <= first_missing`.

    Both are starts of commit records, which the walsender compares with a subscription's origin
    (SnapBuildXactNeedsSkip). `included_end` is the end of the last included commit record: the origin of an apply
    worker after it. `included` and `missing` count the transactions that were compared.
    """

    last_included: LSN
    included_end: LSN
    first_missing: LSN
    included: int
    missing: int

    def holds(self, lsn: LSN) -> bool:
        return self.last_included < lsn <= self.first_missing


@dataclass(frozen=True)
class Proof:
    """The intersection of the brackets of `databases`, by name. `transactions` were compared, by `by`."""

    last_included: LSN
    first_missing: LSN
    transactions: int
    by: str
    databases: dict[str, Bracket]

    def holds(self, lsn: LSN) -> bool:
        return self.last_included < lsn <= self.first_missing


@dataclass(frozen=True)
class NotCovered:
    """Something in a database that a comparison says nothing about. At most ten names."""

    kind: str
    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grant:
    """One CONNECT privilege. `grantee` None is PUBLIC."""

    database: int
    grantee: str | None
    grantor: str
    grantable: bool
    by_owner: bool


@dataclass(frozen=True)
class Setting:
    """default_transaction_read_only of one database, for all roles or for ours; None where it is not set."""

    database: int
    ours: bool
    value: str | None


@dataclass(frozen=True)
class ClosedDatabase:
    """What a database's connect privileges were before it was closed."""

    name: str
    connect: tuple[Grant, ...]
    read_only: tuple[Setting, ...]


@dataclass(frozen=True)
class Endpoints:
    """The host that took the writes, and the readers' hosts that showed them, by name."""

    writes: str
    reads: dict[str, str]


@dataclass(frozen=True)
class MoveResult:
    """A finished move. `pause_ms` is None where the command was cut off after OPEN, so that nobody measured it."""

    serving: SideName
    epoch: int
    opened_at: datetime
    end_lsns: dict[str, LSN]
    steps_ms: dict[str, float]
    pause_ms: float | None
    interrupted: bool
    rollback_path: bool
    stale_views: tuple[str, ...] = ()
    endpoints: Endpoints | None = None


T = TypeVar("T")

_converter = make_converter(forbid_extra_keys=True, detailed_validation=False)
_converter.register_unstructure_hook(LSN, str)
_converter.register_structure_hook(LSN, lambda value, _: LSN.parse(value))


def as_json(value: object) -> dict[str, Any]:
    """The fields of a record, or of a value in one, as JSON knows them: LSNs as `X/Y`, times in ISO 8601."""
    found: dict[str, Any] = _converter.unstructure(value)
    return found


def from_json(fields: Any, cls: type[T]) -> T:
    """Read back what `as_json` wrote. Raises some Exception where a field is unknown, missing or of another type."""
    return _converter.structure(fields, cls)
