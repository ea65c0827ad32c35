"""Which rows differ, from hashes: of parts of the table, then of the rows of a few parts. Pure."""

from collections import Counter
from collections.abc import Iterator

from encryptdb.controller.verify.result import Digest, RowDifference
from encryptdb.controller.verify.scan import RowKey

SHOWN = 10
"""Rows reported per table."""

ROWS_PER_PART = 5000
PARTS_AT_MOST = 1 << 16
PARTS_READ = 8
"""How many differing parts are read."""

Sides = tuple[str, str]


def number_of_parts(rows: int) -> int:
    """How many parts to divide a table of `rows` rows into."""
    return max(1, min(PARTS_AT_MOST, rows // ROWS_PER_PART))


def differing_parts(publisher: dict[int, Digest], subscriber: dict[int, Digest]) -> list[int]:
    """The parts that differ, at most PARTS_READ."""
    nothing = Digest()
    differing = [
        part
        for part in sorted(publisher.keys() | subscriber.keys())
        if publisher.get(part, nothing) != subscriber.get(part, nothing)
    ]
    return differing[:PARTS_READ]


def differences(
    publisher: Counter[RowKey], subscriber: Counter[RowKey], key: list[str], sides: Sides
) -> Iterator[RowDifference]:
    """Rows that only one side has, and rows with the same key and different columns."""
    here, there = publisher - subscriber, subscriber - publisher
    if not key:
        for side, found in zip(sides, (here, there), strict=True):
            for (_, first, second), times in sorted(found.items()):
                yield RowDifference(f"only on {side}", {"row digest": str(Digest(0, first, second))}, times)
        return
    ours, theirs = {row[0] for row in here}, {row[0] for row in there}
    for values in sorted(ours | theirs, key=str):
        assert values is not None, "a table with a key shows it"
        kind = (
            "different"
            if values in ours and values in theirs
            else f"only on {sides[0] if values in ours else sides[1]}"
        )
        yield RowDifference(kind, dict(zip(key, values, strict=True)))
