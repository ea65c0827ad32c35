"""Both sides are compared at the same point while applications write at full speed, and no application notices."""

from pathlib import Path

import pytest

from encryptdb.controller.verify.apply import Ends
from encryptdb.controller.verify.database import compare_database
from encryptdb.controller.verify.result import DatabaseResult
from encryptdb.controller.waiting import SystemClock
from tests.kit import servers
from tests.verify.pair import APP, NAMES, Pair, Writers, following

COMPARED = {
    "public.account", "public.entry", "public.visit", "public.every_type", "public.event_2023", "public.event_2024",
    '"Odd ""schema""".t', '"Odd ""schema""".nothing',
}  # fmt: skip


def compare(pair: Pair, busy_seconds: float = 60) -> DatabaseResult:
    ends = Ends(APP, pair.side("source"), pair.side("target"), NAMES.slot(pair.oid))
    return compare_database(ends, pair.reporter, SystemClock(), busy_seconds=busy_seconds)


def test_equal_again_and_again_under_full_load(pair: Pair) -> None:
    with Writers(pair.source) as writers:
        rounds = [compare(pair) for _ in range(3)]
    for result in rounds:
        assert {t.table for t in result.tables} == COMPARED
        assert {t.table: t.equal for t in result.tables} == dict.fromkeys(COMPARED, True)
    entries = [t.source.rows for r in rounds for t in r.tables if t.table == "public.entry" and t.source]
    assert 0 < entries[0] < entries[1] < entries[2], "the point moves on with the writers"
    assert writers.commits > 0
    assert writers.broken == []


def test_equal_under_full_load_with_parallel_apply(wheel_template: servers.Server, room: Path) -> None:
    with following(wheel_template, room, logical_decoding_work_mem="64kB") as pair:
        pair.target.sql(f"ALTER SUBSCRIPTION {NAMES.slot(pair.oid)} SET (streaming = parallel)", database=APP)
        with Writers(pair.source) as writers:
            results = compare(pair)
        streamed = pair.source.sql("SELECT stream_txns > 0 FROM pg_stat_replication_slots")
        assert streamed == [(True,)], "the big transactions were streamed, and so applied in parallel"
        assert {t.table: t.equal for t in results.tables} == dict.fromkeys(COMPARED, True)
        assert writers.commits > 0
        assert writers.broken == []


def test_a_table_in_a_long_transaction_is_reported_busy_and_the_others_are_compared(pair: Pair) -> None:
    with Writers(pair.source) as writers, pair.source.connect(APP) as long:
        with long.transaction():
            long.execute("INSERT INTO event VALUES (100000, '2024-02-02')")
            # It has gone on for long enough to be recognised as long.
            long.execute("SELECT pg_sleep(1.1)")
            result = compare(pair, busy_seconds=2)
            # It is still well, and so is everybody else.
            long.execute("INSERT INTO event VALUES (100001, '2024-02-02')")
        assert writers.broken == []
    found = {t.table: t for t in result.tables}
    assert found["public.event_2024"].equal is None
    assert "client backend" in (found["public.event_2024"].reason or "")
    assert {name for name, t in found.items() if t.equal} == COMPARED - {"public.event_2024"}


def test_a_short_transaction_is_waited_for(pair: Pair) -> None:
    with pair.source.connect(APP) as short:
        short.execute("BEGIN; INSERT INTO event VALUES (100002, '2024-02-02')")
        pair.said.clear()
        waiter = _Finishes(short)
        clock = waiter
        ends = Ends(APP, pair.side("source"), pair.side("target"), NAMES.slot(pair.oid))
        result = compare_database(ends, pair.reporter, clock)
    assert waiter.finished
    assert {t.table: t.equal for t in result.tables} == dict.fromkeys(COMPARED, True)


class _Finishes(SystemClock):
    """Ends a transaction when the comparison first pauses for a table that is busy."""

    def __init__(self, connection: object) -> None:
        self.connection, self.finished = connection, False

    def sleep(self, seconds: float) -> None:
        if seconds >= 0.2 and not self.finished:
            self.connection.execute("COMMIT")  # type: ignore[attr-defined]
            self.finished = True
        super().sleep(seconds)


def test_heartbeats_of_others_do_not_disturb(pair: Pair) -> None:
    import threading

    stop = threading.Event()

    def beat() -> None:
        with pair.source.connect(APP, user="master") as db:
            while not stop.wait(0.02):
                db.execute("UPDATE encryptdb.heartbeat SET n = n + 1")

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        result = compare(pair)
    finally:
        stop.set()
        thread.join()
    assert {t.table: t.equal for t in result.tables} == dict.fromkeys(COMPARED, True)


def test_what_replication_does_not_carry_is_named(pair: Pair) -> None:
    kinds = {n.kind: n.count for n in compare(pair).not_covered}
    assert kinds == {
        "large object": 1, "materialized view": 1, "unlogged table": 1, "sequence (set at cutover)": 2,
    }  # fmt: skip


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_server_is_left_without_a_trace(pair: Pair, side: str) -> None:
    compare(pair)
    server = pair.source if side == "source" else pair.target
    left = server.sql(
        "SELECT state FROM pg_stat_activity WHERE usename = 'master' AND datname = 'app' AND state <> 'idle'"
    )
    locks = server.sql("SELECT count(*) FROM pg_locks WHERE mode IN ('ShareLock', 'AccessExclusiveLock')")
    assert (left, locks) == ([], [(0,)])
