"""Reading a slot: the frames, the prefix, and where the reading begins."""

import struct
from datetime import UTC, datetime

import pytest

from encryptdb.controller.exact_lsn.proof import WINDOW_BYTES, Prefix, Unproved, starts
from encryptdb.controller.exact_lsn.slot_stream import Begin, Commit, Keepalive, Other, read, status_update
from encryptdb.controller.postgres.lsn import LSN

T0 = datetime(2024, 4, 27, 12, 0, 5, 250_001, UTC)
MICROSECONDS = 767_534_405_250_001
"""T0 as PostgreSQL counts: microseconds since 2000-01-01 00:00 UTC."""


def data(payload: bytes) -> bytes:
    return struct.pack(">cQQq", b"w", 1, 2, 3) + payload


def test_a_begin_names_commit_start_time_and_xid() -> None:
    frame = data(struct.pack(">cQqI", b"B", 0x20000110, MICROSECONDS, 4_294_967_295))
    assert read(frame) == Begin(LSN(0x20000110), T0, 4_294_967_295)
    assert read(memoryview(frame)) == read(frame)


def test_a_commit_names_the_end_of_its_record() -> None:
    frame = data(struct.pack(">cBQQq", b"C", 0, 0x20000110, 0x20000140, MICROSECONDS))
    assert read(frame) == Commit(LSN(0x20000110), LSN(0x20000140))


def test_a_keepalive_says_how_far_was_sent() -> None:
    assert read(struct.pack(">cQqB", b"k", 77, 0, 1)) == Keepalive(LSN(77), True)


def test_a_row_counts_by_its_size_only() -> None:
    assert read(data(b"I" + bytes(100))) == Other(126)


def test_the_answer_to_a_keepalive_confirms_no_position() -> None:
    kind, written, flushed, applied, at, ping = struct.unpack(">cQQQqB", status_update(T0))
    assert (kind, written, flushed, applied, at, ping) == (b"r", 0, 0, 0, MICROSECONDS, 0)


def begin(position: int) -> Begin:
    return Begin(LSN(position), T0, position)


def test_the_join_lies_between_the_last_included_and_the_first_missing() -> None:
    prefix = Prefix()
    for position, included in [(10, True), (20, True), (30, False), (40, False)]:
        prefix.add(begin(position), included)
    found = prefix.bracket({LSN(20): LSN(28)})
    assert (found.last_included, found.included_end, found.first_missing) == (LSN(20), LSN(28), LSN(30))
    assert (found.included, found.missing) == (2, 2)


def test_an_included_transaction_behind_a_missing_one_is_a_contradiction() -> None:
    prefix = Prefix()
    prefix.add(begin(10), False)
    with pytest.raises(Unproved, match=r"lacks transaction 10 .* but holds 20"):
        prefix.add(begin(20), True)


def test_a_reading_that_begins_with_a_missing_one_began_too_late() -> None:
    prefix = Prefix()
    assert not prefix.starts_too_late
    prefix.add(begin(10), False)
    assert prefix.starts_too_late


def named(*positions: int) -> list[LSN]:
    return [LSN(p) for p in positions]


CONFIRMED, NOW = LSN(1 << 30), LSN(1 << 40)


def test_reading_begins_a_window_before_the_nearest_candidate_and_goes_back_to_the_slot() -> None:
    one, other = 1 << 35, 1 << 36
    assert starts(CONFIRMED, named(other, one), NOW) == [
        LSN(one - WINDOW_BYTES),
        LSN(one - 64 * WINDOW_BYTES),
        CONFIRMED,
    ]


def test_reading_never_begins_before_the_slot_nor_twice_at_one_place() -> None:
    assert starts(CONFIRMED, named(CONFIRMED.bytes + 5), NOW) == [CONFIRMED]
    assert starts(CONFIRMED, [], NOW) == [CONFIRMED]


def test_a_candidate_outside_of_what_the_slot_holds_does_not_lead_the_reading() -> None:
    assert starts(CONFIRMED, named(5, NOW.bytes + 1), NOW) == [CONFIRMED]
