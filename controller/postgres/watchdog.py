"""The watchdog: a session on the side that is being left that takes the fence down after a timeout.

It runs inside the server, so it works if the controller is killed, hangs or loses its connection. The other side is
opened only after the watchdog has ended and the fence was read once more.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.pq import ExecStatus

from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.waiting import Clock, Reporter, SystemClock, wait_until
from encryptdb.stacks.contract.errors import AGAIN, Failed, Refused

OUTLIVE_SQL = """
-- Nothing but its own end, or ours, may end the watchdog. Each setting where this version has it.
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'client_connection_check_interval')
"""

LEFT_OVER_SQL = """
-- Databases that a fence is still recorded for.
SELECT d.datname::text FROM encryptdb.fence f JOIN pg_database d ON d.oid = f.database ORDER BY 1
"""

ORPHANS_SQL = """
-- End watchdogs whose controller is gone: one that slept on would take down the next run's fence. None found: gone.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT encryptdb.watch(%'
"""


@dataclass
class Watchdog:
    """A running watchdog. It acts `seconds` after its start."""

    server: Server
    connection: Db
    seconds: float

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def stand_down(self, control_connection: Db, databases: Sequence[Named]) -> None:
        """End it, wait for its end, and read the fence once more, in one round trip. Raises Failed if any of this
        failed: then the other side must not be opened."""
        row = control_connection.execute(
            "SELECT encryptdb.stand_down(%s, %s)", [self.pid, [d.oid for d in databases]]
        ).fetchone()
        said = row[0] if row else "no answer"
        if said is not None:
            raise Failed(
                f"Could not confirm the fence on the {self.server.side}: {said}.",
                detail="The other side was not opened.",
                hint=f"If this took longer than --max-pause, raise it: {AGAIN}",
            )

    def end(self, control_connection: Db) -> None:
        """End it if the fence is down; otherwise it keeps running. Safe to repeat."""
        with contextlib.suppress(psycopg.Error):
            control_connection.execute(
                "SELECT pg_terminate_backend(%s) WHERE encryptdb.watching(%s) AND NOT EXISTS "
                "(SELECT FROM encryptdb.fence)",
                [self.pid, self.pid],
            )
        self.connection.close()


def start(server: Server, seconds: float, *, reporter: Reporter, clock: Clock) -> Watchdog:
    """Start a watchdog on `server` and wait until it runs. It takes a fence down `seconds` from now."""
    connection = server.connect(CONTROL_DATABASE)
    with server.translated(CONTROL_DATABASE):
        connection.execute(OUTLIVE_SQL)
        # Not through a cursor: the answer is never waited for.
        connection.pgconn.send_query(b"SELECT encryptdb.watch(%f)" % seconds)
        while connection.pgconn.flush():
            pass
        watchdog = Watchdog(server, connection, seconds)
        watcher = server.db()

        def running() -> bool | None:
            row = watcher.execute("SELECT encryptdb.watching(%s)", [watchdog.pid]).fetchone()
            if row == (True,):
                return True
            connection.pgconn.consume_input()
            if not connection.pgconn.is_busy():
                result = connection.pgconn.get_result()
                if result is not None and result.status == ExecStatus.FATAL_ERROR:
                    raise Failed(f"Could not start the watchdog on the {server.side}.", detail=_words(result))
            return None

        wait_until(running, what="the watchdog to run", seconds=5, every=0.005, reporter=reporter, clock=clock)
    return watchdog


def left_over(server: Server) -> list[str]:
    """Names of the databases recorded as fenced, e.g. by a controller that was killed."""
    if not control.exists(server):
        return []
    with server.translated(CONTROL_DATABASE):
        try:
            return [name for (name,) in server.db().execute(LEFT_OVER_SQL).fetchall()]
        except psycopg.errors.UndefinedTable:
            return []


def restore_leftover(server: Server, why: str = "an earlier run was cut off") -> list[str]:
    """Take down a leftover fence, end every watchdog, and return the databases. Only for a side that serves, with the
    lock held. Raises Refused if the fence stays, Failed if a watchdog does not end."""
    found = left_over(server)
    if found:
        server.execute("SELECT encryptdb.fence_down(%s, %s)", [control.who(), why])
    still = left_over(server)
    if still:
        raise Refused(f"The {server.side} is still fenced: {', '.join(still)}.", hint=AGAIN)
    if control.exists(server):
        wait_until(
            lambda: None if server.rows(None, ORPHANS_SQL) else True,
            what="the watchdog of an earlier run to end",
            seconds=5,
            every=0.01,
            reporter=Reporter(quiet=True),
            clock=SystemClock(),
        )
    return found


def _words(result: object) -> str:
    message = getattr(result, "error_message", b"")
    return bytes(message).decode(errors="replace").strip().splitlines()[0] if message else "no message"
