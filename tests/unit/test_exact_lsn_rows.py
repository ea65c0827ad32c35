"""Which places of the join the rows on the copy allow, and how pgoutput's rows are read."""

import struct
from typing import Any

import pytest

from encryptdb.controller.exact_lsn.changes import (
    UNCHANGED,
    Changes,
    Emptied,
    Gone,
    Key,
    Relation,
    Row,
    RowReader,
    Written,
)
from encryptdb.controller.exact_lsn.row_history import Seen, Series, extremes, only, places

TABLE = Relation("public", "orders", ("id", "note"), (0,))
XIDS = [1001, 1002, 1003, 1004]
OLD = 900
"""An xid of before the series."""


def key(name: str) -> Key:
    return Key(TABLE, (name,))


def written(name: str, note: str, *, born: bool = True) -> Written:
    return Written(key(name), (name, note), born)


def series(*transactions: list[Any], later: list[Any] | None = None, keys_of_each: int = 10) -> Series:
    found = Series(1000, keys_of_each)
    for xid, changes in zip(XIDS, transactions, strict=False):
        found.begin(xid)
        for change in changes:
            found.add(change)
    found.close()
    for change in later or []:
        found.add(change)
    return found


def row(name: str, note: str, xmin: int) -> tuple[Key, Seen]:
    return key(name), Seen(xmin, (name, note))


def which(fitting: int) -> set[int]:
    return {place for place in range(fitting.bit_length()) if fitting >> place & 1}


INSERTS = series([written("a", "x")], [written("b", "x")], [written("c", "x")])


def test_the_rows_that_stand_and_the_first_that_does_not_leave_one_place() -> None:
    seen = dict([row("a", "x", 1001), row("b", "x", 1002)]) | {key("c"): None}
    assert only(places(INSERTS, seen)) == 2


def test_a_row_of_that_xid_with_other_values_is_not_the_transactions() -> None:
    """The copy gave the xid of a missing transaction to one of its own, and that wrote the same key."""
    fitting = places(INSERTS, dict([row("a", "x", 1001), row("b", "own", 1002)]))
    assert which(fitting) == {1, 2, 3}, "the row tells nothing, and least of all that the transaction is there"


def test_a_row_of_those_values_under_another_xid_tells_nothing() -> None:
    """A subtransaction of any of them may have written it."""
    assert which(places(INSERTS, dict([row("b", "x", 1003)]))) == {0, 1, 2, 3}


def test_what_the_copy_wrote_over_by_itself_tells_nothing() -> None:
    assert which(places(INSERTS, dict([row("b", "own", 5000)]))) == {0, 1, 2, 3}


def test_a_version_that_stands_was_not_yet_replaced() -> None:
    updates = series(*[[written("a", str(n), born=False)] for n in range(4)])
    assert only(places(updates, dict([row("a", "1", 1002)]))) == 2
    assert only(places(updates, dict([row("a", "before", OLD)]))) == 0
    assert only(places(updates, dict([row("a", "3", 1004)]))) == 4


def test_a_deleted_row_is_there_or_not() -> None:
    deletes = series([written("a", "x")], [Gone(key("b"))], [Gone(key("c"))])
    seen = dict([row("a", "x", 1001), row("c", "old", OLD)]) | {key("b"): None}
    assert only(places(deletes, seen)) == 2


def test_a_row_that_is_missing_may_lie_behind_a_join_before_the_series() -> None:
    """It may have been inserted just before the series begins, by a transaction that the copy lacks too."""
    assert which(places(series([written("a", "x")], [Gone(key("b"))]), {key("b"): None})) == {0, 2}


def test_what_came_and_went_tells_nothing_of_either() -> None:
    """So the places before and after the two are alike, and neither is proved."""
    brief = series([written("a", "x")], [written("b", "x")], [Gone(key("b"))], [written("c", "x")])
    seen: dict[Key, Seen | None] = {**dict([row("a", "x", 1001)]), key("b"): None, key("c"): None}
    fitting = places(brief, seen)
    assert which(fitting) == {1, 3}
    assert only(fitting) is None
    assert extremes(fitting) == (1, 3)


def test_what_is_overwritten_behind_the_series_may_mean_a_join_behind_it() -> None:
    busy = series([written("a", "x")], [written("b", "x")], later=[written("b", "y", born=False)])
    seen = dict([row("a", "x", 1001), row("b", "y", OLD)])
    assert which(places(busy, seen)) == {1, 2}


def test_a_truncated_table_is_empty_from_there_on() -> None:
    emptied = series([written("a", "x")], [Emptied((TABLE,))], [written("b", "x")])
    assert only(places(emptied, {key("a"): None, **dict([row("b", "x", 1003)])})) == 3
    assert which(places(emptied, dict([row("a", "x", 1001)]))) == {1}


def test_rows_that_contradict_each_other_leave_no_place() -> None:
    assert places(INSERTS, {key("a"): None, **dict([row("b", "x", 1002)])}) == 0


def test_of_a_large_transaction_only_some_keys_are_followed_and_never_wrongly() -> None:
    large = series([Gone(key("a")), written("b", "x")], [Gone(key("b"))], keys_of_each=1)
    # b's insertion was left out: its deletion, seen first, does not prove that it was there before.
    assert set(large.histories) == {key("a"), key("b")}
    assert which(places(large, {key("b"): None})) == {0, 1, 2}


def test_xids_are_compared_modulo_2_to_the_32() -> None:
    wrapped = Series(10, 10)
    for xid in (4_294_967_290, 5):
        wrapped.begin(xid)
        wrapped.add(written("a", str(xid), born=False))
    assert which(places(wrapped, dict([row("a", "old", 4_294_967_000)]))) == {0}
    assert which(places(wrapped, dict([row("a", "own", 9)]))) == {0, 1, 2}
    assert which(places(wrapped, dict([row("a", "frozen", 2)]))) == {0}


def frame(payload: bytes) -> bytes:
    return struct.pack(">cQQq", b"w", 1, 2, 3) + payload


def values(*given: str | object | None) -> bytes:
    parts = [struct.pack(">h", len(given))]
    for value in given:
        if isinstance(value, str):
            parts.append(b"t" + struct.pack(">I", len(value.encode())) + value.encode())
        else:
            parts.append(b"n" if value is None else b"u")
    return b"".join(parts)


def described(identity: bytes = b"d", flags: tuple[int, int] = (1, 0)) -> RowReader:
    reader = RowReader()
    columns = b"".join(
        bytes([f]) + name + b"\0" + bytes(8) for f, name in zip(flags, (b"id", b"note"), strict=True)
    )  # fmt: skip
    reader.read(frame(b"R" + struct.pack(">I", 7) + b"public\0orders\0" + identity + b"\0\x02" + columns))
    return reader


OID = struct.pack(">I", 7)


@pytest.mark.parametrize(
    "payload, changes",
    [
        (b"I" + OID + b"N" + values("a", None), (Written(key("a"), ("a", None), True),)),
        (b"U" + OID + b"N" + values("a", UNCHANGED), (Written(key("a"), ("a", UNCHANGED), False),)),
        (b"U" + OID + b"K" + values("a", None) + b"N" + values("b", "x"),
         (Gone(key("a")), Written(key("b"), ("b", "x"), True))),
        (b"D" + OID + b"K" + values("a", None), (Gone(key("a")),)),
        (b"T" + struct.pack(">IB", 1, 0) + OID, (Emptied((TABLE,)),)),
    ],
)  # fmt: skip
def test_what_a_message_does_to_rows(payload: bytes, changes: tuple[Any, ...]) -> None:
    assert described().read(frame(payload)) == Changes(changes)


@pytest.mark.parametrize("identity, flags", [(b"f", (1, 1)), (b"n", (0, 0))])
def test_a_table_without_a_key_has_no_rows_to_know_again(identity: bytes, flags: tuple[int, int]) -> None:
    reader = described(identity, flags)
    assert reader.read(frame(b"I" + OID + b"N" + values("a", "x"))) == Changes(())


def test_a_value_that_was_left_alone_fits_whatever_stands() -> None:
    toasted: Row = ("a", UNCHANGED)
    found = series([Written(key("a"), toasted, False)], [written("b", "x")])
    assert which(places(found, dict([row("a", "a long one", 1001)]))) == {1, 2}
