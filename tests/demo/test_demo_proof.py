"""The proof must fail where it should: each test makes one thing wrong on a copy of the loaded databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from psycopg import sql

from demo import proof, sequences, storage
from demo.load import BILLING, ORDERS
from demo.pgbench import Run
from demo.postgres import Connection, Login, one
from demo.sequences import Position
from tests.demo.demo_server import Server


@dataclass(frozen=True)
class Pair:
    """A database and its copy; `since` is a moment before any change to the copy."""

    source: Connection
    target: Connection
    since: datetime


@contextmanager
def copy_of(server: Server, database: str) -> Iterator[Pair]:
    copy = f"copy of {database}"
    with server.master.connect("postgres") as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(database)))
        try:
            with server.master.connect(database) as source, server.master.connect(copy) as target:
                yield Pair(source, target, one(target, "SELECT clock_timestamp()")[0])
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))


@pytest.fixture
def pair(server: Server) -> Iterator[Pair]:
    with copy_of(server, ORDERS) as pair:
        yield pair


def replicated(to: Connection, change: str) -> None:
    """Make a change that looks as if replication had made it: it carries an origin."""
    to.execute("SELECT pg_replication_origin_create('test') WHERE pg_replication_origin_oid('test') IS NULL")
    to.execute("SELECT pg_replication_origin_session_setup('test')")
    with to.transaction():
        to.execute(change.encode())
    to.execute("SELECT pg_replication_origin_session_reset()")


def before(pair: Pair, change: str) -> None:
    """Make a change on the target as the replication does before the cutover."""
    replicated(pair.target, change)


def afterwards(pair: Pair, change: str) -> None:
    """Make a change on the target as an application does after the cutover."""
    pair.target.execute(change.encode())


def tables(pair: Pair) -> proof.Check:
    return proof.tables_equal(ORDERS, pair.source, pair.target, pair.since)


@pytest.mark.parametrize("database", [ORDERS, BILLING])
def test_a_copy_is_equal_and_its_sequences_are_ahead(server: Server, database: str) -> None:
    with copy_of(server, database) as pair:
        checks = [
            proof.tables_equal(database, pair.source, pair.target, pair.since),
            proof.sequences_ahead(database, pair.source, pair.target),
        ]
        assert [c for c in checks if not c.holds] == []


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE shop.customer SET name = name || ' ' WHERE id = 7", "shop.customer"),
        ("DELETE FROM shop.order_line WHERE order_id = 1 AND line_no = 1", "shop.order_line"),
        ("INSERT INTO audit.event SELECT * FROM audit.event LIMIT 1", "audit.event"),
        ("UPDATE shop.document SET scan = scan || '\\x00' WHERE id = 3", "shop.document"),
        ("INSERT INTO shop.employee (name) VALUES ('one too many')", "shop.employee"),
        ("CREATE TABLE shop.only_here (id integer PRIMARY KEY)", "shop.only_here"),
        ("DROP TABLE shop.basket", "shop.basket"),
    ],
)
def test_a_replicated_difference_of_one_row_is_found(pair: Pair, change: str, table: str) -> None:
    before(pair, change)
    checked = tables(pair)
    assert checked.holds is False
    assert checked.found.startswith(f"{table}: ")
    assert ";" not in checked.found


def test_what_applications_wrote_on_the_target_is_set_aside(pair: Pair) -> None:
    afterwards(pair, "UPDATE shop.customer SET name = 'new' WHERE id < 10")
    afterwards(pair, 'UPDATE "Warehouse"."Stock Item" SET quantity = 1 WHERE "SKU" = \'SKU-3\'')
    afterwards(pair, "INSERT INTO audit.event VALUES (current_date, 'x', '{}', 1)")
    checked = tables(pair)
    assert checked.holds, checked.found
    assert "12 rows written since the opening are set aside" in checked.found


def test_what_came_back_to_the_source_is_set_aside(pair: Pair) -> None:
    turned = Pair(source=pair.target, target=pair.source, since=pair.since)
    insert = "INSERT INTO audit.event VALUES (current_date, 'y', '{}', 1)"
    afterwards(turned, insert)
    assert tables(turned).holds
    replicated(turned.source, insert)
    checked = tables(turned)
    assert checked.holds, checked.found


def test_a_difference_beside_rows_that_were_set_aside_is_found(pair: Pair) -> None:
    afterwards(pair, "UPDATE shop.customer SET name = 'new' WHERE id < 10")
    before(pair, "UPDATE shop.customer SET name = 'wrong' WHERE id = 10")
    assert tables(pair).holds is False


def test_a_row_that_applications_removed_is_not_set_aside(pair: Pair) -> None:
    """That is why the writers stop removing rows before the cutover."""
    afterwards(pair, 'DELETE FROM shop."Parcel" WHERE "Id" = 1')
    assert tables(pair).holds is False


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("SELECT setval('shop.customer_id_seq', 1999)", "shop.customer_id_seq comes to 2000 next, and 2000 is in use"),
        ("SELECT setval('shop.\"Ticket\"', 899999)", "shop.Ticket comes to 899998 next, the source to 899"),
        ("SELECT setval('shop.lane', 1, false)", "shop.lane has begun on the source and not on the target"),
        ("SELECT setval('shop.never_called', 41, false)", "shop.never_called comes to 41 next, the source to 42"),
        ("DROP SEQUENCE shop.never_called", "shop.never_called is not on the target"),
    ],
)
def test_a_sequence_behind_is_found(pair: Pair, change: str, problem: str) -> None:
    pair.target.execute(change.encode())
    checked = proof.sequences_ahead(ORDERS, pair.source, pair.target)
    assert checked.holds is False
    assert problem in checked.found


def test_a_sequence_may_be_further_than_the_source() -> None:
    there = {"s": Position("s", 1, False, 60, True, 60)}
    assert list(sequences.behind(there, {"s": Position("s", 1, False, 66, True, 60)})) == []
    assert list(sequences.behind(there, {"s": Position("s", 1, False, 61, False, 60)})) == []


def test_pgbench_books_are_checked_against_each_other_and_against_its_count(pair: Pair) -> None:
    pair.target.execute(
        'TRUNCATE "Bench".history; UPDATE "Bench".accounts SET balance = 0 WHERE balance <> 0;'
        ' UPDATE "Bench".tellers SET balance = 0; UPDATE "Bench".branches SET balance = 0;'
        ' INSERT INTO "Bench".history (tid, bid, aid, delta) VALUES (1, 1, 1, 5);'
        ' UPDATE "Bench".accounts SET balance = 5 WHERE aid = 1; UPDATE "Bench".tellers SET balance = 5 WHERE tid = 1;'
        ' UPDATE "Bench".branches SET balance = 5 WHERE bid = 1'
    )
    assert proof.pgbench_adds_up([Run(0, 1, 1, 0, 0)], pair.target).holds
    assert proof.pgbench_adds_up([Run(0, 1, 0, 0, 1), Run(1, 2, 1, 0, 0)], pair.target).holds
    assert proof.pgbench_adds_up([Run(0, 1, 2, 0, 0)], pair.target).holds is False
    pair.target.execute('UPDATE "Bench".accounts SET balance = CASE aid WHEN 1 THEN 0 ELSE 5 END WHERE aid IN (1, 2)')
    assert "2 accounts do not have the sum" in proof.pgbench_adds_up([Run(0, 1, 1, 0, 0)], pair.target).found


INSERT = "INSERT INTO ledger.entry (client, seq, amount) VALUES (-1, 0, 0)"


def test_an_open_source_does_not_refuse(server: Server) -> None:
    checked = proof.source_refuses([(ORDERS, server.loaded.app, INSERT)])
    assert (checked.holds, checked.found) == (False, "app could write to orders")


def test_a_revoked_connect_is_a_refusal_also_for_the_owner(server: Server) -> None:
    database = sql.Identifier(BILLING)
    revoke = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC, app, billing_owner").format(database)
    grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC, app, billing_owner").format(database)
    with server.master.connect("postgres") as admin:
        admin.execute(revoke)
        try:
            checked = proof.source_refuses(
                [(BILLING, server.loaded.app, INSERT), (BILLING, server.loaded.owner, INSERT)]
            )
        finally:
            admin.execute(grant)
    assert checked.holds, checked.found


@pytest.mark.parametrize("mistake", ["password", "port", "statement"])
def test_a_mistake_of_the_check_itself_is_no_refusal(server: Server, mistake: str) -> None:
    app = server.loaded.app
    login = {
        "password": app.as_user("app", "wrong"),
        "port": Login(app.host, 1, app.user, app.password),
        "statement": app,
    }[mistake]
    statement = "INSERT INTO no.such_table VALUES (1)" if mistake == "statement" else INSERT
    assert proof.source_refuses([(ORDERS, login, statement)]).holds is False


@pytest.fixture
def disks(tmp_path: Path) -> dict[str, Path]:
    """Three directories: the first two hold the marker, across the boundary of what is read at once."""
    found = {name: tmp_path / name for name in ("source", "mounted", "ciphertext")}
    for name, directory in found.items():
        (directory / "base").mkdir(parents=True)
        text = b"" if name == "ciphertext" else b"x" * (storage.CHUNK - 3) + b"marker" + b"y" * 9
        (directory / "base" / "1259").write_bytes(text)
    return found


def test_the_marker_is_found_where_it_can_be_read(disks: dict[str, Path]) -> None:
    checked = proof.marker_encrypted("marker", disks["source"], disks["ciphertext"], disks["mounted"])
    assert checked.holds, checked.found


def test_a_marker_in_the_ciphertext_fails(disks: dict[str, Path]) -> None:
    assert proof.marker_encrypted("marker", disks["source"], disks["source"], disks["mounted"]).holds is False


def test_a_search_that_finds_nothing_anywhere_proves_nothing(disks: dict[str, Path]) -> None:
    nowhere = disks["ciphertext"]
    assert proof.marker_encrypted("marker", nowhere, nowhere, disks["mounted"]).holds is False
    assert proof.marker_encrypted("marker", disks["source"], nowhere, nowhere).holds is False


def test_without_an_encrypted_filesystem_the_marker_is_left_out_in_words(disks: dict[str, Path]) -> None:
    checked = proof.marker_encrypted("marker", disks["source"], None, disks["mounted"])
    assert checked.holds is None
    assert checked.found.startswith("left out")


def test_a_failed_transaction_fails_the_check_of_the_pause() -> None:
    failed = ["pgbench: 1 transactions failed"]
    assert proof.writers_unharmed([], waited=0.2, pause=0.1, held_back=True).holds
    assert proof.writers_unharmed(failed, waited=0.2, pause=0.1, held_back=True).holds is False
    assert proof.writers_unharmed(failed, waited=0.2, pause=0.1, held_back=False).holds is None
