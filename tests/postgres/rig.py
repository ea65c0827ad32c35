"""A migration on plain servers, as far as the search for the exact LSN: a prepared source, its frozen copy, its log.

The source is prepared by this module's own SQL, not by the controller's steps: what is tested here must not depend on
how they do it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from psycopg import conninfo, sql

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.record_values import DatabaseName, Heartbeat
from encryptdb.controller.records import Databases, Heartbeats
from encryptdb.stacks.contract.outputs import Engine
from tests.kit import migration as kit
from tests.kit.servers import Server
from tests.kit.waits import wait_for
from tests.kit.writers import Clients
from tests.postgres.log_api import LogApi

STACK = "exact"
DATABASES = ("app", "Second DB")
"""Two databases, so that one LSN has to fit both; the second is nearly idle and has a name that wants quoting."""

TABLES_SQL = """
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who int NOT NULL, note text,
                     xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint);
CREATE TABLE bag (who int NOT NULL, n int NOT NULL);  -- no key: a row sent twice stays twice
CREATE TABLE counter (who int PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE scratch (who int NOT NULL, n int NOT NULL);  -- emptied again and again
ALTER TABLE bag REPLICA IDENTITY FULL;
INSERT INTO counter SELECT i, 0 FROM generate_series(0, 9) AS i;
CREATE SCHEMA encryptdb;
CREATE TABLE encryptdb.heartbeat (id int PRIMARY KEY CHECK (id = 1), n bigint NOT NULL, at timestamptz NOT NULL);
INSERT INTO encryptdb.heartbeat VALUES (1, 0, clock_timestamp());
GRANT SELECT ON ALL TABLES IN SCHEMA public TO master;
ALTER SCHEMA encryptdb OWNER TO master;
ALTER TABLE encryptdb.heartbeat OWNER TO master;
"""

LARGE_SQL = "INSERT INTO ledger (who, note) SELECT %s, repeat('y', 200) FROM generate_series(1, 500)"

ROLES_SQL = """
CREATE ROLE master LOGIN REPLICATION CREATEDB CREATEROLE;
GRANT pg_monitor TO master;
-- As rds_superuser may.
GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO master;
"""


def prepare(source: Server) -> None:
    """What `controller prepare` does on the source: databases, publication, slot, heartbeat, in this order."""
    names = Names.of(STACK)
    source.sql(ROLES_SQL)
    if int(source.sql("SHOW server_version_num")[0][0]) < 140000:
        # Up to 13, whoever looks at a replication origin must be superuser; RDS lets its master do it.
        source.sql("ALTER ROLE master SUPERUSER")
    for name in DATABASES:
        source.sql(f'CREATE DATABASE "{name}"')
        source.sql(TABLES_SQL, database=name)
        source.sql(f"CREATE PUBLICATION {names.publication} FOR ALL TABLES", database=name)
    side = kit.side("source", source.port)
    try:
        control.create(side)
        listed = source.sql("SELECT oid::bigint, datname FROM pg_database WHERE datname = ANY (%s)", [list(DATABASES)])
        control.write(side, Databases(tuple(DatabaseName(oid, name) for oid, name in listed)))
        for oid, name in listed:
            source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [names.slot(oid)], name)
        beats = {}
        for _, name in listed:
            [(xid,)] = source.sql(
                "UPDATE encryptdb.heartbeat SET n = n + 1 RETURNING pg_current_xact_id()::text::bigint", database=name
            )
            [(at, lsn)] = source.sql(
                "SELECT pg_xact_commit_timestamp(%s::text::xid), pg_current_wal_insert_lsn()::text", [xid]
            )
            beats[name] = Heartbeat(xid, at, LSN.parse(lsn))
        control.write(side, Heartbeats(beats))
    finally:
        side.close()


def heartbeats(observed: Observed) -> dict[str, Heartbeat]:
    """What `prepare` recorded, to be falsified."""
    recorded = observed.records.heartbeats
    assert recorded is not None
    return recorded.databases


@dataclass
class Pair:
    """A prepared source and the copy that a snapshot of it became."""

    source: Server
    copy: Server
    log: LogApi
    engine: Engine = "postgres"
    said: list[str] = field(default_factory=list)

    @contextmanager
    def migration(self, lsn: LSN | None = None) -> Iterator[tuple[Migration, Observed]]:
        """The migration as `controller replicate` has it when it asks for the exact LSN."""
        told = kit.outputs(STACK, self.source.port, self.copy.port, engine=self.engine)
        m = kit.migration(told, self.said, self.log, lsn=lsn)
        try:
            yield m, observe(m)
        finally:
            m.close()

    def slots(self) -> list[tuple[Any, ...]]:
        """Everything about the slots of both sides that reading them might have moved."""
        asked = """SELECT slot_name, temporary, active, confirmed_flush_lsn::text, restart_lsn::text, catalog_xmin::text
                     FROM pg_replication_slots ORDER BY 1"""
        return [*self.source.sql(asked), *self.copy.sql(asked)]


def isolate(copy: Server) -> None:
    """Drop the slots that the copy inherited, and roll back what was prepared, as `controller replicate` does before it
    asks for the LSN."""
    copy.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    for gid, database in copy.sql("SELECT gid, database FROM pg_prepared_xacts"):
        copy.sql(f"ROLLBACK PREPARED '{gid}'", database=database)


def live_on(copy: Server) -> None:
    """What may happen to a copy before the controller comes: 50 transactions of its own, which take the next xids, a
    vacuum that freezes, a checkpoint, a clean restart, a crash."""
    copy.sql("CREATE TABLE own (n int)")
    for n in range(50):
        copy.sql("INSERT INTO own VALUES (%s)", [n])
    copy.sql("VACUUM (FREEZE)", database="app")
    copy.sql("CHECKPOINT")
    copy.restart("fast")
    copy.sql("INSERT INTO own VALUES (-1)")
    copy.restart("immediate")


def join(pair: Pair, lsn: str, *, on_copies: bool = False) -> None:
    """Replicate from the source to the copy, starting at `lsn`, and return when what was missing has been applied.

    `on_copies`: over a copy of each slot, made for this and dropped by `leave`, so that the slots stay where they are
    and the next copy can be joined as well.
    """
    names = Names.of(STACK)
    for oid, name in pair.source.sql("SELECT oid::bigint, datname FROM pg_database WHERE datname = ANY (%s)",
                                     [list(DATABASES)]):  # fmt: skip
        slot = read = names.slot(oid)
        if on_copies:
            read = f"{slot}_copy"
            pair.source.sql("SELECT pg_copy_logical_replication_slot(%s, %s)", [slot, read], name)
        publisher = conninfo.make_conninfo(host="127.0.0.1", port=pair.source.port, user="postgres", dbname=name)
        with pair.copy.connect(name) as db:
            db.execute(
                sql.SQL(
                    "CREATE SUBSCRIPTION {slot} CONNECTION {publisher} PUBLICATION {publication} "
                    "WITH (copy_data = false, create_slot = false, enabled = false, slot_name = {name})"
                ).format(
                    slot=sql.Identifier(slot),
                    publisher=sql.Literal(publisher),
                    publication=sql.Identifier(names.publication),
                    name=sql.Literal(read),
                )
            )
        pair.copy.sql(
            "SELECT pg_replication_origin_advance('pg_' || oid, %s::pg_lsn) FROM pg_subscription WHERE subname = %s",
            [lsn, slot],
        )
        pair.copy.sql(f"ALTER SUBSCRIPTION {slot} ENABLE", database=name)
    catch_up(pair)


def leave(pair: Pair) -> None:
    """Once the copy has been stopped: drop the copies of the slots."""
    held = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\\_copy' AND active"
    wait_for(lambda: pair.source.sql(held) == [(0,)], "the walsenders of a copy that was stopped to end")
    pair.source.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '%\\_copy'"
    )


def catch_up(pair: Pair) -> None:
    """Return when the copy has applied whatever was committed on the source before the call."""
    for name in DATABASES:
        [(n,)] = pair.source.sql("UPDATE encryptdb.heartbeat SET n = n + 1 RETURNING n", database=name)
        wait_for(
            partial(_has_beat, pair.copy, name, n),
            f"the copy to apply the last heartbeat of {name}; its log ends: {pair.copy.log_text()[-600:]}",
        )


def _has_beat(server: Server, database: str, n: int) -> bool:
    return bool(server.sql("SELECT n >= %s FROM encryptdb.heartbeat", [n], database)[0][0])


def contents(server: Server) -> dict[str, Any]:
    """Every row of every table, sorted: what must be equal in the end."""
    return {
        f"{database}.{table}": server.sql(f"SELECT t::text FROM {table} AS t ORDER BY 1", database=database)
        for database in DATABASES
        for table in ("ledger", "bag", "counter")
    }


def digests(server: Server) -> dict[str, tuple[int, str]]:
    """Of every published table: how many rows, and a digest of all of them, whatever their order."""
    tables = """SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                 WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"""
    found = {}
    for database in DATABASES:
        with server.connect(database) as db:
            for (table,) in db.execute(tables).fetchall():
                row = db.execute(f"SELECT count(*), md5(string_agg(t::text, ';' ORDER BY t::text)) FROM {table} AS t")
                found[f"{database}.{table}"] = row.fetchone()
    return found  # type: ignore[return-value]


class Load(Clients):
    """Clients at work: short, long, large, aborted and empty transactions, and subtransactions."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        super().__init__(clients)
        self.server = server
        self.started()

    def at_work(self) -> bool:
        done = "SELECT min(n) > 3 FROM counter WHERE who < %s"
        return bool(self.server.sql(done, [len(self.threads)], DATABASES[0])[0][0])

    def work(self, number: int) -> None:
        turn, who = 0, number
        with self.server.connect(DATABASES[0]) as db:
            # Enough to be busy, and little enough for a copy that has to catch up on two cores.
            while not self.stopping.wait(0.01):
                turn += 1
                with db.transaction():
                    db.execute("INSERT INTO ledger (who, note) VALUES (%s, %s)", [who, "x" * (turn % 300)])
                    db.execute("INSERT INTO bag VALUES (%s, %s)", [who, turn])
                    db.execute("UPDATE counter SET n = n + 1 WHERE who = %s", [who])
                    if turn % 5 == 0:
                        with db.transaction(force_rollback=True):
                            db.execute("INSERT INTO bag VALUES (%s, -1)", [who])
                        with db.transaction():
                            db.execute("INSERT INTO bag VALUES (%s, %s)", [who, turn])
                    if turn % 20 == 0:
                        db.execute(LARGE_SQL, [who])
                with db.transaction(force_rollback=True):
                    db.execute("INSERT INTO ledger (who) VALUES (%s)", [who])
