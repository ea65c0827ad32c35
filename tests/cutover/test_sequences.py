"""Sequences by the thousand: the number of round trips stays the same, and only those that moved are set."""

from collections.abc import Iterator

import pytest

from controller.cutover import sequences
from controller.cutover.sequences import BATCH
from controller.cutover.way import Way
from controller.errors import Failed
from controller.observe import observe
from tests.cutover.rig import World
from tests.postgres.servers import Server

MANY = 2 * BATCH + 100


@pytest.fixture(scope="module")
def many(world: World) -> Iterator[World]:
    """More sequences than fit into two batches, on both sides."""
    for server in (world.source, world.target):
        in_pieces(server, "CREATE SEQUENCE many.s{}", "CREATE SCHEMA many; GRANT USAGE ON SCHEMA many TO master")
        server.sql("BEGIN READ WRITE; GRANT ALL ON ALL SEQUENCES IN SCHEMA many TO master; COMMIT", database="app")
    yield world
    for server in (world.source, world.target):
        in_pieces(server, "DROP SEQUENCE many.s{}")
        server.sql("BEGIN READ WRITE; DROP SCHEMA many; COMMIT", database="app")


def in_pieces(server: Server, statement: str, first: str = "SELECT 1") -> None:
    """Small transactions: each sequence in one holds a lock until its end."""
    with server.connect("app") as db:
        db.execute(f"BEGIN READ WRITE; {first}; COMMIT".encode())
        for start in range(0, MANY, 500):
            numbers = range(start, min(start + 500, MANY))
            db.execute(f"BEGIN READ WRITE; {'; '.join(statement.format(n) for n in numbers)}; COMMIT".encode())


def trips(server: Server) -> int:
    """How often something of `sequences` was sent to a server that logs every statement."""
    return server.log_text().count("statement: BEGIN; \n")


def test_thousands_are_read_in_one_round_trip_and_set_in_one(many: World) -> None:
    with many.migration() as m:
        way = Way.cutover(m, [d for d in observe(m).migrated if d.name == "app"])
        planned = sequences.plan(way)
        sequences.put(way, planned, sequences.read(way, planned))
        many.source.sql("SELECT nextval('many.s' || i) FROM generate_series(0, %s) i", [MANY - 1], "app")
        before = trips(many.source), trips(many.target)
        assert sequences.put(way, planned, sequences.read(way, planned)) == MANY
        assert (trips(many.source), trips(many.target)) == (before[0] + 1, before[1] + 1)
        # What did not move is not set again, and then nothing is sent.
        assert sequences.put(way, planned, sequences.read(way, planned)) == 0
        assert (trips(many.source), trips(many.target)) == (before[0] + 2, before[1] + 1)


def test_a_batch_that_fails_leaves_a_connection_that_others_can_use(many: World) -> None:
    with many.migration() as m:
        way = Way.cutover(m, [d for d in observe(m).migrated if d.name == "app"])
        planned = sequences.plan(way)
        values = sequences.read(way, planned)
        many.target.sql("BEGIN READ WRITE; DROP SEQUENCE many.s0; COMMIT", database="app")
        planned.known["app"].clear()
        with pytest.raises(Failed, match="answered with an error"):
            sequences.put(way, planned, values)
        assert way.to.db("app").execute("SELECT 1").fetchone() == (1,)
    many.target.sql("BEGIN READ WRITE; CREATE SEQUENCE many.s0; COMMIT", database="app")
