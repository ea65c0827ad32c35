"""A position in the write-ahead log: a byte offset since initdb."""

import re
from functools import total_ordering
from typing import Any

from psycopg import Connection
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

PG_LSN_OID = 3220
_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


@total_ordering
class LSN:
    """One log sequence number. Compares by position; `later - earlier` is a distance in bytes.

    PostgreSQL up to 18 writes `16/B374D848`; from 19 the low half is padded with zeros. Both are read.
    """

    __slots__ = ("bytes",)

    def __init__(self, position: int) -> None:
        if not 0 <= position < 1 << 64:
            raise ValueError(f"not a WAL position: {position}")
        self.bytes = position

    @classmethod
    def parse(cls, text: str) -> "LSN":
        """Read `X/Y` (hexadecimal halves). Raises ValueError for anything else."""
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"not an LSN: {text!r} (expected the form 16/B374D848)")
        return cls(int(found.group(1), 16) << 32 | int(found.group(2), 16))

    def __str__(self) -> str:
        return f"{self.bytes >> 32:X}/{self.bytes & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"LSN({self})"

    def __eq__(self, other: object) -> bool:
        return self.bytes == other.bytes if isinstance(other, LSN) else NotImplemented

    def __lt__(self, other: "LSN") -> bool:
        return self.bytes < other.bytes

    def __hash__(self) -> int:
        return hash(self.bytes)

    def __add__(self, distance: int) -> "LSN":
        return LSN(self.bytes + distance)

    def __sub__(self, other: "LSN") -> int:
        return self.bytes - other.bytes

    def back(self, distance: int) -> "LSN":
        """The position `distance` bytes earlier, never below 0/0."""
        return LSN(max(0, self.bytes - distance))

    @property
    def is_zero(self) -> bool:
        """0/0: PostgreSQL's way of saying "no position"."""
        return self.bytes == 0


class _LSNLoader(Loader):
    format = Format.TEXT

    def load(self, data: bytes | bytearray | memoryview) -> LSN:
        return LSN.parse(bytes(data).decode())


class _LSNDumper(Dumper):
    oid = PG_LSN_OID

    def dump(self, obj: LSN) -> bytes:
        return str(obj).encode()


def register(connection: Connection[Any]) -> None:
    """Adapt LSN to and from `pg_lsn` on this connection."""
    connection.adapters.register_loader("pg_lsn", _LSNLoader)
    connection.adapters.register_dumper(LSN, _LSNDumper)
