"""The heartbeat: one row in each migrated database that only encryptdb updates. Its commits, known by `n` and xid, show
what a snapshot contains, how far an apply worker is, and where a side's changes end."""

from dataclasses import dataclass

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server, at_once
from encryptdb.stacks.contract.errors import AGAIN, Failed

EXISTS = "to_regclass('encryptdb.heartbeat') IS NOT NULL"
"""SQL expression: whether this database has one."""

CREATE_SQL = """
CREATE SCHEMA IF NOT EXISTS encryptdb;
CREATE TABLE IF NOT EXISTS encryptdb.heartbeat (
    id integer PRIMARY KEY CHECK (id = 1),
    n  bigint NOT NULL,
    at timestamptz NOT NULL
);
REVOKE ALL ON SCHEMA encryptdb FROM PUBLIC;
INSERT INTO encryptdb.heartbeat VALUES (1, 0, clock_timestamp()) ON CONFLICT DO NOTHING;
"""

BEAT_SQL = """
-- The xid has 32 bits, as pg_xact_commit_timestamp takes it.
UPDATE encryptdb.heartbeat SET n = n + 1, at = clock_timestamp() WHERE id = 1
RETURNING n, (pg_current_xact_id()::text::numeric % 4294967296)::bigint, pg_current_wal_insert_lsn()
"""

READ_SQL = "SELECT n FROM encryptdb.heartbeat WHERE id = 1"

LOCK_SQL = f"{READ_SQL} FOR UPDATE"
"""Blocks an apply worker at the next heartbeat until the end of the transaction."""

AGE_SQL = "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM encryptdb.heartbeat WHERE id = 1"


@dataclass(frozen=True)
class Beat:
    """One commit of the heartbeat. `xid` has 32 bits; for `lsn` see the function that returns it."""

    n: int
    xid: int
    lsn: LSN


def create(server: Server, database: str) -> None:
    """Create schema, table and row, if missing."""
    server.execute(CREATE_SQL, database=database)


def drop(server: Server, database: str) -> None:
    """Drop it with its schema, if it exists."""
    server.execute("DROP SCHEMA IF EXISTS encryptdb CASCADE", database=database)


def beat(server: Server, database: str) -> Beat:
    """Commit a heartbeat, durably, in one round trip. `lsn` is the flush LSN after the commit. Raises Failed if the row
    is missing."""
    with server.translated(database):
        updated, flushed = at_once(
            server.db(database),
            f"BEGIN; SET LOCAL synchronous_commit = on; {BEAT_SQL}; COMMIT; SELECT pg_current_wal_flush_lsn()",
        )
    if not updated:
        raise Failed(
            f"Database {database!r} on the {server.side} has no heartbeat row.",
            detail="Table encryptdb.heartbeat is empty.",
            hint=f"On the {server.side}, in database {database}: "
            "INSERT INTO encryptdb.heartbeat VALUES (1, 0, clock_timestamp()); then: " + AGAIN,
        )
    n, xid, _ = updated[0]
    return Beat(n, xid, flushed[0][0])


def commit(connection: Db) -> Beat:
    """Commit the caller's transaction with a heartbeat, in one round trip. `lsn` is right before the commit record.
    Raises the driver's errors."""
    (updated,) = at_once(connection, f"{BEAT_SQL}; COMMIT")
    return Beat(*updated[0])


def read(server: Server, database: str) -> int | None:
    """The current n; None if the row is missing."""
    n: int | None = server.value(READ_SQL, database=database)
    return n


def age(server: Server, database: str) -> float | None:
    """Seconds since this server's last heartbeat, by its own clock; None if the row is missing."""
    seconds: float | None = server.value(AGE_SQL, database=database)
    return seconds
