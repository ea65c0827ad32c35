"""Logical replication slots: create, read, drop."""

import threading
from dataclasses import dataclass

from psycopg import errors

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.waiting import Clock, Reporter, wait_until

MAKE_SECONDS = 900.0
"""How long creating a slot may wait for running transactions."""

INACTIVE_SECONDS = 60.0
"""How long a slot may stay active after its subscriber has ended."""

LIST_SQL = """
-- Every slot that outlives its session.
SELECT slot_name AS name, database, plugin, active, active_pid, confirmed_flush_lsn, restart_lsn, wal_status,
       safe_wal_size::bigint AS safe_wal_bytes
  FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
"""

OLDEST_TRANSACTION_SQL = """
SELECT format('pid %%s, %%s, open since %%s', pid, usename, xact_start) FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> %s ORDER BY xact_start LIMIT 1
"""

LAG_SQL = """
-- Bytes of WAL that the slowest of these slots has not confirmed.
SELECT max(pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots WHERE slot_name = ANY (%s)
"""

REPLAY_LAG_SQL = """
-- For each of these slots that is read: how long ago its server committed what the subscriber applied last (0: all).
SELECT extract(epoch FROM coalesce(a.replay_lag, interval '0'))::float8
  FROM pg_replication_slots s JOIN pg_stat_replication a ON a.pid = s.active_pid WHERE s.slot_name = ANY (%s)
"""


@dataclass(frozen=True)
class Slot:
    """One replication slot that is not temporary."""

    name: str
    database: str | None
    plugin: str | None
    active: bool
    active_pid: int | None
    confirmed_flush_lsn: LSN | None
    restart_lsn: LSN | None
    wal_status: str | None
    safe_wal_bytes: int | None


def read(server: Server) -> dict[str, Slot]:
    """Every slot of the server, by name."""
    return {slot.name: slot for slot in server.rows(Slot, LIST_SQL, database="postgres")}


def lag(server: Server, names: list[str]) -> int:
    """Bytes of WAL that the slowest of these slots has not confirmed; 0 if none exists."""
    return int(server.value(LAG_SQL, [names], database="postgres") or 0)


def replay_seconds(server: Server, names: list[str]) -> float | None:
    """The largest replay_lag in seconds; None unless all of these slots are active."""
    found = server.rows(None, REPLAY_LAG_SQL, [names], database="postgres")
    return max(seconds for (seconds,) in found) if names and len(found) == len(names) else None


def create(
    server: Server, database: str, name: str, *, reporter: Reporter, clock: Clock, seconds: float = MAKE_SECONDS
) -> None:
    """Create one slot, reporting the transaction it waits for. If interrupted, no slot is left behind.

    Raises Failed if running transactions do not end within `seconds`.
    """
    connection = server.connect(database, statement_seconds=seconds)
    try:
        with server.translated(database):
            _create(server, connection, name, seconds, reporter, clock)
    finally:
        connection.close()


def _create(server: Server, connection: Db, name: str, seconds: float, reporter: Reporter, clock: Clock) -> None:
    outcome: list[BaseException | None] = []

    def make() -> None:
        try:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    def waits_for() -> str:
        oldest = server.value(OLDEST_TRANSACTION_SQL, [connection.info.backend_pid], database="postgres")
        return f"the oldest running transaction: {oldest}" if oldest else "no transaction is running"

    worker = threading.Thread(target=make, daemon=True)
    worker.start()
    try:
        wait_until(
            lambda: outcome or None,
            what=f"slot {name} (creating it waits for every running transaction)",
            seconds=seconds + 10,
            every=0.02,
            reporter=reporter,
            clock=clock,
            progress=waits_for,
        )
    except BaseException:
        connection.cancel_safe()
        worker.join(5)
        raise
    if outcome[0] is not None:
        raise outcome[0]


def wait_inactive(server: Server, name: str, *, reporter: Reporter, clock: Clock) -> None:
    """Return when the slot is inactive. Raises Failed, naming its PID, after INACTIVE_SECONDS."""
    pid: int | None = None

    def probe() -> bool | None:
        nonlocal pid
        query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND active"
        pid = server.value(query, [name], database="postgres")
        return None if pid else True

    wait_until(
        probe,
        what=f"slot {name} to become inactive",
        seconds=INACTIVE_SECONDS,
        every=0.02,
        reporter=reporter,
        clock=clock,
        progress=lambda: f"it is active for PID {pid}",
        hint=f"Another client reads it. To end that client, on the {server.side}: "
        f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}' AND active;",
    )


def drop(server: Server, name: str, *, reporter: Reporter, clock: Clock, via: str = CONTROL_DATABASE) -> None:
    """Drop one slot, if it exists, over a connection to the database `via`. Its walsender is ended: a disconnected
    subscriber would hold it until wal_sender_timeout. Raises Failed if it stays active."""

    def gone() -> bool | None:
        found = server.row("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name], database=via)
        if found is None:
            return True
        with server.translated(via):
            try:
                if found[0] is None:
                    server.db(via).execute("SELECT pg_drop_replication_slot(%s)", [name])
                    return True
                server.db(via).execute("SELECT pg_terminate_backend(%s)", [found[0]])
            except (errors.ObjectInUse, errors.UndefinedObject, errors.InsufficientPrivilege):
                # An enabled subscriber may take the slot in between, or somebody else drop it; a walsender that this
                # role may not end may end by itself.
                return None
        return None

    wait_until(
        gone,
        what=f"slot {name} to become inactive",
        seconds=INACTIVE_SECONDS,
        every=0.05,
        reporter=reporter,
        clock=clock,
    )
