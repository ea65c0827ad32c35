"""The rows of a transaction, read from pgoutput's bytes: which key was written with which values, or went. Pure.

Format: PostgreSQL documentation, "Logical Replication Message Formats", protocol version 1. Values are text.
"""

import struct
from dataclasses import dataclass, field

from encryptdb.controller.exact_lsn.messages import Message, Other, payload_of, read

UNCHANGED = object()
"""A TOASTed value that the change left alone: pgoutput does not repeat it."""

Value = str | None | object
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Relation:
    """A table as pgoutput describes it. `key` are the places of the replica identity's columns, none where the table
    has no key (nothing, or the whole row, is its identity)."""

    schema: str
    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]


@dataclass(frozen=True)
class Key:
    """One row of one table, by its replica identity."""

    relation: Relation
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Written:
    """The row has these values now. `born`: it was inserted."""

    key: Key
    row: Row
    born: bool


@dataclass(frozen=True)
class Gone:
    """The row was deleted, or its key changed."""

    key: Key


@dataclass(frozen=True)
class Emptied:
    """The tables were truncated."""

    relations: tuple[Relation, ...]


Change = Written | Gone | Emptied


@dataclass(frozen=True)
class Changes:
    """What one message does to rows that have a key."""

    changes: tuple[Change, ...]


@dataclass
class RowReader:
    """Reads the frames of one stream; it remembers the tables that the stream has described."""

    relations: dict[int, Relation] = field(default_factory=dict)

    def read(self, frame: bytes | memoryview) -> Message | Changes:
        """As `messages.read`, but with the rows."""
        message = read(frame)
        if not isinstance(message, Other) or (payload := payload_of(frame)) is None:
            return message
        data = _Bytes(bytes(payload))
        match data.take(1):
            case b"R":
                self._describe(data)
            case b"I":
                return Changes(self._insert(self.relations[data.int32()], data))
            case b"U":
                return Changes(self._update(self.relations[data.int32()], data))
            case b"D":
                relation = self.relations[data.int32()]
                data.take(1)
                return Changes((Gone(_key(relation, data.row())),) if relation.key else ())
            case b"T":
                count, _ = data.int32(), data.take(1)
                return Changes((Emptied(tuple(self.relations[data.int32()] for _ in range(count))),))
        return message

    def _describe(self, data: "_Bytes") -> None:
        oid, schema, name, identity = data.int32(), data.text(), data.text(), data.take(1)
        columns, key = [], []
        for place in range(data.int16()):
            flags = data.take(1)[0]
            columns.append(data.text())
            data.take(8)
            if flags & 1:
                key.append(place)
        # With REPLICA IDENTITY FULL every column is marked, and no row is known by them.
        known = tuple(key) if identity in (b"d", b"i") else ()
        self.relations[oid] = Relation(schema or "pg_catalog", name, tuple(columns), known)

    @staticmethod
    def _insert(relation: Relation, data: "_Bytes") -> tuple[Change, ...]:
        data.take(1)
        row = data.row()
        return (Written(_key(relation, row), row, born=True),) if relation.key else ()

    @staticmethod
    def _update(relation: Relation, data: "_Bytes") -> tuple[Change, ...]:
        kind, before = data.take(1), None
        if kind in b"KO":
            before = data.row()
            data.take(1)
        row = data.row()
        if not relation.key:
            return ()
        key = _key(relation, row)
        if before is None or (was := _key(relation, before)) == key:
            return (Written(key, row, born=False),)
        return (Gone(was), Written(key, row, born=True))


def _key(relation: Relation, row: Row) -> Key:
    return Key(relation, tuple(row[place] for place in relation.key))


class _Bytes:
    """The bytes of one message, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def int16(self) -> int:
        found: int = struct.unpack(">h", self.take(2))[0]
        return found

    def int32(self) -> int:
        found: int = struct.unpack(">I", self.take(4))[0]
        return found

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        return self.take(end + 1 - self.at)[:-1].decode()

    def row(self) -> Row:
        return tuple(self._value() for _ in range(self.int16()))

    def _value(self) -> Value:
        match self.take(1):
            case b"n":
                return None
            case b"u":
                return UNCHANGED
            case _:
                # A database in SQL_ASCII may hold any bytes.
                return self.take(self.int32()).decode(errors="replace")
