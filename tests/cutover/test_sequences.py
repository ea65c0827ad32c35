"""Sequences by the thousand: the number of round trips stays the same, and only those that moved are set."""

from collections.abc import Iterator

import pytest

from encryptdb.controller.cutover import sequences
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.sequences import BATCH
from encryptdb.controller.observe import observe
from encryptdb.stacks.contract.errors import Failed, Refused
from tests.cutover.rig import World
from tests.kit.servers import Server

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


@pytest.fixture
def extensions(world: World) -> Iterator[World]:
    """Two sequences of an extension on both sides, which the master may not set; the second is listed as the owner's
    data, as pg_extension_config_dump() does."""
    for server in (world.source, world.target):
        server.sql(
            "BEGIN READ WRITE; CREATE SCHEMA ext; CREATE SEQUENCE ext.internal; CREATE SEQUENCE ext.config; "
            "ALTER EXTENSION plpgsql ADD SEQUENCE ext.internal; ALTER EXTENSION plpgsql ADD SEQUENCE ext.config; "
            "UPDATE pg_extension SET extconfig = ARRAY['ext.config'::regclass::oid] WHERE extname = 'plpgsql'; COMMIT",
            database="app",
        )
    yield world
    for server in (world.source, world.target):
        server.sql(
            "BEGIN READ WRITE; UPDATE pg_extension SET extconfig = NULL WHERE extname = 'plpgsql'; "
            "ALTER EXTENSION plpgsql DROP SEQUENCE ext.internal; ALTER EXTENSION plpgsql DROP SEQUENCE ext.config; "
            "DROP SCHEMA ext CASCADE; COMMIT",
            database="app",
        )


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


def test_an_extensions_own_sequence_that_we_may_not_set_stops_nothing(extensions: World) -> None:
    (superuser,) = extensions.source.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'master'")[0]
    with extensions.migration() as m:
        direction = Direction.cutover(m, [d for d in observe(m).migrated if d.name == "app"])
        if not superuser:
            with pytest.raises(Refused) as refused:
                sequences.plan(direction)
            assert refused.value.detail == "app: ext.config: permission denied"
        for server in (extensions.source, extensions.target):
            server.sql("BEGIN READ WRITE; GRANT USAGE ON SCHEMA ext TO master; COMMIT", database="app")
            server.sql("BEGIN READ WRITE; GRANT ALL ON SEQUENCE ext.config TO master; COMMIT", database="app")
        extensions.source.sql("SELECT nextval('ext.config'), nextval('ext.internal')", database="app")
        planned = sequences.plan(direction)
        sequences.put(direction, planned, sequences.read(direction, planned))
    # What we may set moves, whosever it is: the rows that were numbered by it do.
    assert extensions.target.sql("SELECT is_called FROM ext.config", database="app") == [(True,)]
    assert extensions.target.sql("SELECT is_called FROM ext.internal", database="app") == [(superuser,)]


def test_thousands_are_read_in_one_round_trip_and_set_in_one(many: World) -> None:
    with many.migration() as m:
        direction = Direction.cutover(m, [d for d in observe(m).migrated if d.name == "app"])
        planned = sequences.plan(direction)
        sequences.put(direction, planned, sequences.read(direction, planned))
        many.source.sql("SELECT nextval('many.s' || i) FROM generate_series(0, %s) i", [MANY - 1], "app")
        before = trips(many.source), trips(many.target)
        assert sequences.put(direction, planned, sequences.read(direction, planned)) == MANY
        assert (trips(many.source), trips(many.target)) == (before[0] + 1, before[1] + 1)
        # What did not move is not set again, and then nothing is sent.
        assert sequences.put(direction, planned, sequences.read(direction, planned)) == 0
        assert (trips(many.source), trips(many.target)) == (before[0] + 2, before[1] + 1)


def test_a_batch_that_fails_leaves_a_connection_that_others_can_use(many: World) -> None:
    with many.migration() as m:
        direction = Direction.cutover(m, [d for d in observe(m).migrated if d.name == "app"])
        planned = sequences.plan(direction)
        values = sequences.read(direction, planned)
        many.target.sql("BEGIN READ WRITE; DROP SEQUENCE many.s0; COMMIT", database="app")
        planned.known["app"].clear()
        with pytest.raises(Failed, match="answered with an error"):
            sequences.put(direction, planned, values)
        assert direction.to.db("app").execute("SELECT 1").fetchone() == (1,)
    many.target.sql("BEGIN READ WRITE; CREATE SEQUENCE many.s0; COMMIT", database="app")
