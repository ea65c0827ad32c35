"""The results of a comparison, and their JSON documents."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.record_values import NotCovered, as_json
from encryptdb.controller.records import Verify

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Digest:
    """The rows of one table on one side: their number, and the sums (modulo 2**64) of two 64-bit hashes of each row.

    A sum does not depend on the order of rows, and, unlike XOR, detects duplicates.
    """

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(self.rows + other.rows, (self.first + other.first) & _MASK, (self.second + other.second) & _MASK)

    def __str__(self) -> str:
        return f"{self.first & _MASK:016x}{self.second & _MASK:016x}"


@dataclass(frozen=True)
class RowDifference:
    """One row that differs. `kind`: only on source, only on target, different.

    `key` holds the columns of the primary key or replica identity as text, or the row's digest; never other columns:
    they may be personal data. `times` > 1 only without a key.
    """

    kind: str
    key: dict[str, str | None]
    times: int = 1

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "key": self.key} | ({"times": self.times} if self.times > 1 else {})


@dataclass(frozen=True)
class TableResult:
    """One table. `equal` is None if it could not be compared. `reason` says why, or how definitions differ."""

    database: str
    table: str
    equal: bool | None
    source: Digest | None = None
    target: Digest | None = None
    point: LSN | None = None
    reason: str | None = None
    rows: tuple[RowDifference, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "database": self.database,
            "table": self.table,
            "rows": self.source.rows if self.source else None,
            "digest": str(self.source) if self.source else None,
            "equal": self.equal,
        }
        if self.point is not None:
            found["point"] = str(self.point)
        if self.equal is False and self.target is not None:
            found["target"] = {"rows": self.target.rows, "digest": str(self.target)}
        if self.reason:
            found["reason"] = self.reason
        if self.rows:
            found["differing_rows"] = [row.as_json() for row in self.rows]
        return found


@dataclass(frozen=True)
class SequenceResult:
    """One sequence after OPEN: `ahead` if the target cannot return a value that the source has returned."""

    database: str
    sequence: str
    source: int | None
    target: int | None
    ahead: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "sequence": self.sequence,
            "source": self.source,
            "target": self.target,
            "equal": self.ahead,
        }


@dataclass
class DatabaseResult:
    """One database. `waited_ms`: the longest time a writer can have waited for us."""

    database: str
    tables: list[TableResult] = field(default_factory=list)
    sequences: list[SequenceResult] = field(default_factory=list)
    not_covered: list[NotCovered] = field(default_factory=list)
    point: LSN | None = None
    waited_ms: float = 0.0


@dataclass(frozen=True)
class Verification:
    """All databases. `publisher` is the side that serves the applications."""

    databases: tuple[DatabaseResult, ...]
    publisher: SideName

    @property
    def tables(self) -> list[TableResult]:
        return [t for d in self.databases for t in d.tables]

    @property
    def differing(self) -> list[str]:
        """Names of the tables and sequences that differ."""
        tables = [f"{t.database}: {t.table}" for t in self.tables if t.equal is False]
        return tables + [f"{s.database}: {s.sequence}" for d in self.databases for s in d.sequences if not s.ahead]

    @property
    def not_compared(self) -> list[TableResult]:
        return [t for t in self.tables if t.equal is None]

    @property
    def equal(self) -> bool:
        """Everything was compared, and nothing differs."""
        return not self.differing and not self.not_compared

    @property
    def writers_waited_ms(self) -> float:
        return round(max((d.waited_ms for d in self.databases), default=0.0), 1)

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        return {
            "equal": self.equal,
            "publisher": self.publisher,
            "point": {d.database: str(d.point) for d in self.databases if d.point is not None},
            "writers_waited_ms": self.writers_waited_ms,
            "tables": [t.as_json() for t in self.tables],
            "sequences": [s.as_json() for d in self.databases for s in d.sequences],
            "not_covered": {d.database: [as_json(n) for n in d.not_covered] for d in self.databases},
        }

    def summary(self, by: str, at: datetime) -> Verify:
        """The record for the report, without the tables that are equal."""
        return Verify(
            by=by,
            at=at,
            equal=self.equal,
            publisher=self.publisher,
            tables=len(self.tables),
            rows=sum(t.source.rows for t in self.tables if t.source),
            point={d.database: d.point for d in self.databases if d.point is not None},
            writers_waited_ms=self.writers_waited_ms,
            differing=tuple(self.differing[:100]),
            not_compared=tuple(f"{t.database}: {t.table}: {t.reason}" for t in self.not_compared[:100]),
            not_covered={d.database: tuple(d.not_covered) for d in self.databases},
        )
