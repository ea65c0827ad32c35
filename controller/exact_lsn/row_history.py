"""What the rows on the copy say about where the snapshot ends in a series of transactions. Pure.

For each key that the series writes, its history is known: after which transaction the row has which values, or is gone.
What stands on the copy under that key fits some places of the join and not others. The places that fit every key are
all that is possible; where that is one place, it is proved. A row counts as a transaction's only if it has both the
transaction's values and, as xmin, its xid: an xid alone proves nothing, because the copy hands the same ones out again.

A set of places is an int: bit k stands for "the copy holds the first k transactions of the series, and no more".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from encryptdb.controller.exact_lsn.changes import UNCHANGED, Change, Emptied, Gone, Key, Relation, Row, Written

FIRST_NORMAL_XID = 3
"""Lower ones are of no transaction: a row with one of them is older than all."""


@dataclass(frozen=True)
class Seen:
    """A row on the copy, with the xid (32 bits) that wrote it."""

    xmin: int
    row: Row


@dataclass
class History:
    """One key: what it is after which transactions, counted from 1. None: gone. `born`: its first change inserts it, or
    may not be its first, so that there may have been nothing before. `later`: it is written again behind the series."""

    born: bool
    states: list[tuple[int, Row | None]] = field(default_factory=list)
    later: bool = False

    def spans(self, count: int) -> Iterator[tuple[int, int, Row | None]]:
        """(first place, first place after, state), up to `count` transactions."""
        for number, (start, row) in enumerate(self.states):
            end = self.states[number + 1][0] if number + 1 < len(self.states) else count + 1
            yield start, end, row


@dataclass
class Series:
    """Successive transactions in the order of their commits: their xids, and the history of the keys they write.

    At most `most_keys` keys are followed, and at most `keys_of_each` new ones of each transaction, so that each has its
    share. What is followed is followed completely, so leaving keys out makes the evidence weaker and never false.
    """

    most_keys: int
    keys_of_each: int
    xids: list[int] = field(default_factory=list)
    histories: dict[Key, History] = field(default_factory=dict)
    closed: bool = False
    _new: int = 0
    _gaps: set[Relation] = field(default_factory=set)

    def begin(self, xid: int) -> None:
        """The next transaction."""
        self.xids.append(xid)
        self._new = 0

    def close(self) -> None:
        """What follows is behind the series: it is remembered only which keys are written again."""
        self.closed = True

    def add(self, change: Change) -> None:
        """The next change of the transaction begun last; or, once closed, of any later one."""
        match change:
            case Written(key, row, born):
                self._add(key, row, born)
            case Gone(key):
                self._add(key, None, False)
            case Emptied(relations):
                for key in self._known(relations):
                    self._add(key, None, False)

    def _known(self, relations: tuple[Relation, ...]) -> list[Key]:
        return [key for key in self.histories if key.relation in relations]

    def _add(self, key: Key, row: Row | None, born: bool) -> None:
        history = self.histories.get(key)
        if self.closed:
            if history is not None:
                history.later = True
            return
        if history is None:
            if self._new >= self.keys_of_each or len(self.histories) >= self.most_keys:
                self._gaps.add(key.relation)
                return
            self._new += 1
            # Behind a gap, an earlier change may have been the insertion.
            history = self.histories[key] = History(born or key.relation in self._gaps)
        if history.states and history.states[-1][0] == len(self.xids):
            history.states.pop()
        history.states.append((len(self.xids), row))


def places(series: Series, seen: Mapping[Key, Seen | None]) -> int:
    """The places of the join that fit everything seen; 0 where it contradicts itself. A key not in `seen` is silent."""
    fitting = _span(0, len(series.xids) + 1)
    oldest = min(series.xids, key=lambda xid: _ahead(xid, series.xids[0]), default=0)
    for key, found in seen.items():
        fitting &= fits(series.histories[key], found, series.xids, oldest)
    return fitting


def fits(history: History, seen: Seen | None, xids: list[int], oldest: int) -> int:
    """The places that fit what stands under one key. `oldest` is the first of the series' xids to have been given."""
    count = len(xids)
    before = _span(0, history.states[0][0])
    behind = _span(count, count + 1) if history.later else 0
    spans = list(history.spans(count))
    if seen is None:
        gone = _union(_span(start, end) for start, end, row in spans if row is None)
        # The join may also lie further back than the series, where the row was not yet there.
        return gone | behind | (before if history.born else _span(0, 1))
    same = [(start, end) for start, end, row in spans if row is not None and _equal(row, seen.row)]
    own = [(start, end) for start, end in same if xids[start - 1] == seen.xmin]
    if own:
        return _union(_span(start, end) for start, end in own)
    # Equal values of another xid may be a subtransaction's, or stood there before: then they tell nothing. Other values
    # stood there before, if whoever wrote them is older than the series; what the copy wrote by itself is younger.
    if same or not _is_older(seen.xmin, oldest):
        return _span(0, count + 1)
    return before | behind


def only(fitting: int) -> int | None:
    """The one place, or None where there are several or none."""
    return fitting.bit_length() - 1 if fitting and not fitting & (fitting - 1) else None


def extremes(fitting: int) -> tuple[int, int]:
    """The first and the last place of a set that is not empty."""
    return (fitting & -fitting).bit_length() - 1, fitting.bit_length() - 1


def _is_older(xid: int, other: int) -> bool:
    return xid < FIRST_NORMAL_XID or _ahead(xid, other) < 0


def _ahead(xid: int, other: int) -> int:
    """How much later an xid is than another, as PostgreSQL compares them: modulo 2^32."""
    return (xid - other + (1 << 31)) % (1 << 32) - (1 << 31)


def _equal(written: Row, found: Row) -> bool:
    return len(written) == len(found) and all(w is UNCHANGED or w == f for w, f in zip(written, found, strict=True))


def _span(start: int, end: int) -> int:
    """The places from `start` up to, but without, `end`."""
    return ((1 << (end - start)) - 1) << start


def _union(sets: Iterable[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found
