"""What was done to the target behind replication's back is found, and named by its key, never by its values."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from encryptdb.controller.postgres.server import Db
from encryptdb.controller.verify import compare as compare_module
from encryptdb.controller.verify import scan
from encryptdb.controller.verify.apply import Ends
from encryptdb.controller.verify.catalog import Pair as TablePair
from encryptdb.controller.verify.catalog import Table, groups, tables
from encryptdb.controller.verify.compare import Comparer
from encryptdb.controller.verify.database import compare_database
from encryptdb.controller.verify.point import Meeting
from encryptdb.controller.verify.result import TableResult
from encryptdb.controller.verify.scan import Unreadable
from encryptdb.controller.waiting import SystemClock
from tests.verify.pair import APP, NAMES, Pair, Writers


def ends_of(pair: Pair) -> Ends:
    return Ends(APP, pair.side("source"), pair.side("target"), NAMES.slot(pair.oid))


def differing(pair: Pair) -> dict[str, TableResult]:
    result = compare_database(ends_of(pair), pair.reporter, SystemClock())
    return {t.table: t for t in result.tables if not t.equal}


@contextmanager
def broken(pair: Pair, side: str, breaks: str, mends: str) -> Iterator[None]:
    server = pair.source if side == "source" else pair.target
    server.sql(breaks, database=APP)
    try:
        yield
    finally:
        server.sql(mends, database=APP)


def rows(found: TableResult) -> set[tuple[str, str]]:
    return {(row.kind, json.dumps(list(row.key.values()))) for row in found.rows}


def test_changed_removed_and_added_rows_under_load(pair: Pair) -> None:
    breaks = """UPDATE account SET note = 'secret note' WHERE id = 6000;
                DELETE FROM account WHERE id = 6001;
                INSERT INTO account VALUES (999999, 0, 'secret note')"""
    mends = """UPDATE account SET note = repeat('x', 6000 % 50) WHERE id = 6000;
               INSERT INTO account VALUES (6001, 0, repeat('x', 6001 % 50));
               DELETE FROM account WHERE id = 999999"""
    with broken(pair, "target", breaks, mends), Writers(pair.source, clients=1) as writers:
        found = differing(pair)
    assert writers.broken == []
    assert found.keys() == {"public.account"}
    account = found["public.account"]
    assert rows(account) == {
        ("different", '["6000"]'), ("only on source", '["6001"]'), ("only on target", '["999999"]'),
    }  # fmt: skip
    assert account.source
    assert account.target
    assert account.source.rows == account.target.rows
    assert "secret note" not in json.dumps(account.as_json())
    assert differing(pair) == {}, "mended"


def test_one_copy_too_few_of_a_row_without_a_key(pair: Pair) -> None:
    breaks = "DELETE FROM visit WHERE ctid = (SELECT min(ctid) FROM visit WHERE page = '/' AND stay = 0.1::real)"
    with broken(pair, "target", breaks, "INSERT INTO visit VALUES ('/', 0.1)"):
        found = differing(pair)
    assert [(row.kind, row.times) for row in found["public.visit"].rows] == [("only on source", 1)]


def test_null_is_not_the_empty_text(pair: Pair) -> None:
    with broken(
        pair, "target", "UPDATE visit SET page = '' WHERE page IS NULL",
        "UPDATE visit SET page = NULL WHERE ctid = (SELECT max(ctid) FROM visit WHERE page = '')",
    ):  # fmt: skip
        found = differing(pair)
    assert {row.kind for row in found["public.visit"].rows} == {"only on source", "only on target"}


@pytest.mark.parametrize(
    "change",
    [
        "f8 = f8 + 1e-12", "f4 = '0.33333334'::real + '3e-8'::real",
        "at = at + interval '1 microsecond'", "n = n * 1.0",
        "j = jsonb_set(j, '{n}', '1.1')", "js = '{\"b\": 1, \"a\":2}'", "span = span + interval '1 microsecond'",
        "raw = raw || '\\x00'", "tags = ARRAY['a', 'b', NULL, '\"']", "m = 'sad'", "cash = cash + 0.01::money",
        "cls = 'entry'", "b = b || B'0'", "matrix = '[0:0][0:0]={{1}}'", "p = ROW(1, NULL)::pair",
    ],
)  # fmt: skip
def test_the_smallest_change_of_any_type(pair: Pair, change: str) -> None:
    (kept,) = pair.target.sql("SELECT row_to_json(t)->>'id' FROM every_type t ORDER BY id DESC LIMIT 1", database=APP)
    copy = f"CREATE TABLE kept AS SELECT * FROM every_type WHERE id = '{kept[0]}'"
    columns = "j, js, f4, f8, n, at, span, raw, tags, matrix, m, p, cash, cls, r, b, ip, v"
    mend = f"UPDATE every_type SET ({columns}) = (SELECT {columns} FROM kept) WHERE id = '{kept[0]}'; DROP TABLE kept"
    with broken(pair, "target", f"{copy}; UPDATE every_type SET {change} WHERE id = '{kept[0]}'", mend):
        found = differing(pair)
    assert found.keys() == {"public.every_type", "public.kept"}
    assert rows(found["public.every_type"]) == {("different", json.dumps([kept[0]]))}


def test_odd_names_and_a_key_of_two_columns(pair: Pair) -> None:
    table = '"Odd ""schema"""."t"'
    with broken(
        pair, "target", f"UPDATE {table} SET \"%s\" = '%d' WHERE t = 7", f"UPDATE {table} SET \"%s\" = '%s' WHERE t = 7"
    ):
        found = differing(pair)
    assert [(r.kind, r.key) for r in found['"Odd ""schema""".t'].rows] == [("different", {"t": "7", "select": "k"})]


def test_a_partition_is_compared_as_its_own(pair: Pair) -> None:
    with broken(pair, "target", "DELETE FROM event_2023 WHERE id = 1", "INSERT INTO event VALUES (1, '2023-06-02')"):
        found = differing(pair)
    assert found.keys() == {"public.event_2023"}
    assert rows(found["public.event_2023"]) == {("only on source", '["1", "2023-06-02"]')}


@pytest.mark.parametrize(
    ("side", "breaks", "mends", "reason"),
    [
        ("source", "CREATE TABLE late (id int PRIMARY KEY)", "DROP TABLE late", "only on the source"),
        ("target", "CREATE TABLE late (id int PRIMARY KEY)", "DROP TABLE late", "only on the target"),
        ("target", "ALTER TABLE entry ADD extra int", "ALTER TABLE entry DROP extra", "'extra' only on the target"),
        ("target", "ALTER TABLE entry ALTER amount TYPE bigint", "ALTER TABLE entry ALTER amount TYPE int",
         "'amount' is integer on the source and bigint on the target"),
    ],
)  # fmt: skip
def test_definitions_that_differ(pair: Pair, side: str, breaks: str, mends: str, reason: str) -> None:
    with broken(pair, side, breaks, mends):
        ((_, found),) = differing(pair).items()
    assert found.equal is False
    assert reason in (found.reason or "")


def test_the_rows_of_a_big_table_are_found_through_its_parts(pair: Pair) -> None:
    with broken(pair, "target", "UPDATE account SET note = NULL WHERE id % 400 = 1", "SELECT 1"):
        found = differing(pair)["public.account"]
    pair.target.sql("UPDATE account SET note = repeat('x', id % 50) WHERE id % 400 = 1", database=APP)
    assert found.source
    assert found.source.rows >= 12000
    assert len(found.rows) == 10
    assert {row.kind for row in found.rows} == {"different"}
    assert {int(row.key["id"] or 0) % 400 for row in found.rows} == {1}


def test_a_table_read_in_pieces_has_the_same_digest(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PIECE_PAGES", 7)
    pair.source.sql("VACUUM ANALYZE account", database=APP)
    told: list[float] = []
    with held(pair) as (meeting, account):
        whole = scan.digest(meeting.publisher, Table(**{**account.publisher.__dict__, "pages": 0}), told.append)
        pieces = scan.digest(meeting.publisher, account.publisher, told.append)
    assert account.publisher.pages > 7 * 5
    assert whole == pieces
    assert whole.rows >= 12000
    assert told[0] == told[-1] == 1.0
    assert len(told) > 5


@contextmanager
def held(pair: Pair, name: str = "public.account") -> Iterator[tuple[Meeting, TablePair]]:
    """A point that is held for one table."""
    with Meeting(ends_of(pair), pair.reporter, SystemClock()) as meeting:
        chosen = TablePair(tables(meeting.publisher)[name], tables(meeting.subscriber)[name])
        with meeting.at_one_point([chosen]):
            yield meeting, chosen


@pytest.mark.parametrize("change", ["TRUNCATE visit", "VACUUM FULL visit"])
def test_a_table_that_was_rewritten_since_the_point_is_not_mistaken_for_a_difference(pair: Pair, change: str) -> None:
    with held(pair, "public.visit") as (meeting, visit):
        pair.source.sql(change, database=APP)
        with pytest.raises(Unreadable, match="truncated or rewritten"):
            scan.digest(meeting.publisher, visit.publisher, lambda _: None)
    assert differing(pair) == {}


def test_whoever_needs_the_table_alone_does_not_wait_for_the_reading(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "LOOK_SECONDS", 0.05)
    reading = threading.Event()

    def long_reading(connection: Db, table: Table, progress: object) -> None:
        with scan._reading(connection):
            connection.execute("SELECT count(*) FROM public.visit")
            reading.set()
            connection.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(scan, "digest", long_reading)

    def alter() -> None:
        reading.wait(10)
        with pair.source.connect(APP, options="-c lock_timeout=15s") as db:
            db.execute("BEGIN; LOCK TABLE visit IN ACCESS EXCLUSIVE MODE; COMMIT")
        altered.append("altered")

    altered: list[str] = []
    ddl = threading.Thread(target=alter)
    ddl.start()
    with (
        held(pair, "public.visit") as (meeting, visit),
        Comparer(meeting) as comparer,
        pytest.raises(Unreadable, match="DDL or TRUNCATE is waiting for it"),
    ):
        comparer.table(visit, pair.migration().source.db(APP).execute("SELECT pg_current_wal_lsn()").fetchone()[0])
    ddl.join()
    assert altered == ["altered"]


def test_a_table_that_may_not_be_read_is_said_to_be_so(pair: Pair) -> None:
    breaks = "ALTER TABLE entry ENABLE ROW LEVEL SECURITY"
    with broken(pair, "source", breaks, "ALTER TABLE entry DISABLE ROW LEVEL SECURITY"):
        found = differing(pair)
    assert found["public.entry"].equal is None
    assert "row-level security" in (found["public.entry"].reason or "")


def test_a_role_that_may_not_lock_learns_what_to_grant(pair: Pair) -> None:
    with broken(pair, "source", "REVOKE pg_write_all_data FROM master", "GRANT pg_write_all_data TO master"):
        found = differing(pair)
    assert {t.equal for t in found.values()} == {None}
    assert "GRANT pg_read_all_data, pg_write_all_data TO master" in (found["public.entry"].reason or "")


def test_big_tables_are_brought_to_a_point_of_their_own() -> None:
    def pair_of(name: str, pages: int) -> TablePair:
        table = Table(1, "public", name, f"public.{name}", pages, [], [], [])
        return TablePair(table, table)

    pairs = [pair_of("a", 10), pair_of("b", 10), pair_of("huge", 1 << 22), pair_of("c", 10)]
    assert [[p.shown for p in g] for g in groups(pairs)] == [["public.a", "public.b"], ["public.huge"], ["public.c"]]
    assert [len(g) for g in groups([pair_of("t", 1)] * 600)] == [250, 250, 100]
