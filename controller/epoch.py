"""Which side serves. One explicit rule, pure.

Each OPEN writes, in the transaction that opens a side, a record `open` with an epoch one higher than any before into
that side's control database. So the side whose `open` has the higher epoch serves, and its records decide; where
neither has one, nothing was ever moved and the source serves. Cutover, rollback, cutover again: 1, 2, 3.
"""

from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.records import Records


def epoch(records: Records | None) -> int:
    """The epoch in which a side was last opened; 0 where it never was."""
    return records.open.epoch if records and records.open else 0


def serving(source: Records | None, target: Records | None) -> SideName:
    """The side that serves, by the records of both. None stands for "has no records", never for "unknown"."""
    return "target" if epoch(target) > epoch(source) else "source"


def following(source: Records | None, target: Records | None) -> int:
    """The epoch of the next OPEN."""
    return max(epoch(source), epoch(target)) + 1
