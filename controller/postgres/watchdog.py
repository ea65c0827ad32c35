"""The watchdog: a session on the side that is being left, which takes the fence down when nobody else does.

It runs inside the server, so it works when the controller is killed, hangs or is cut off. Before the other side is
opened it must be ended, seen gone, and the fence read once more; where that is not certain, nothing is opened.
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
from encryptdb.stacks.contract.errors import Failed, Refused

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
    """A running watchdog. `seconds` is the time from its start to the moment at which it acts."""

    server: Server
    connection: Db
    seconds: float

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def stand_down(self, control_connection: Db, databases: Sequence[Named]) -> None:
        """End it, see it gone, read the fence once more: one round trip. Raises Failed where any of this is not
        certain: then the other side must not be opened."""
        row = control_connection.execute(
            "SELECT encryptdb.stand_down(%s, %s)", [self.pid, [d.oid for d in databases]]
        ).fetchone()
        said = row[0] if row else "no answer"
        if said is not None:
            raise Failed(
                f"The fence on the {self.server.side} is not certain: {said}.",
                detail="So the other side was not opened.",
                hint="If this took longer than --max-pause, give it more; then run the command again.",
            )

    def end(self, control_connection: Db) -> None:
        """End it if the fence is down already; else it stays and does its work. Safe to repeat."""
        with contextlib.suppress(psycopg.Error):
            control_connection.execute(
                "SELECT pg_terminate_backend(%s) WHERE encryptdb.watching(%s) AND NOT EXISTS "
                "(SELECT FROM encryptdb.fence)",
                [self.pid, self.pid],
            )
        self.connection.close()


def start(server: Server, seconds: float, *, reporter: Reporter, clock: Clock) -> Watchdog:
    """Leave a watchdog running on `server` and see that it runs. It takes a fence down `seconds` from now."""
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
                    raise Failed(f"The watchdog on the {server.side} does not run.", detail=_words(result))
            return None

        wait_until(running, what="the watchdog to run", seconds=5, every=0.005, reporter=reporter, clock=clock)
    return watchdog


def left_over(server: Server) -> list[str]:
    """Names of the databases that are fenced by the record, e.g. by a controller that was killed."""
    if not control.exists(server):
        return []
    with server.translated(CONTROL_DATABASE):
        try:
            return [name for (name,) in server.db().execute(LEFT_OVER_SQL).fetchall()]
        except psycopg.errors.UndefinedTable:
            return []


def restore_leftover(server: Server, why: str = "an earlier run was cut off") -> list[str]:
    """Take down a fence that was left, end every watchdog, and return the databases. Only for a side that serves, and
    by whoever holds the lock. Raises Refused where it stays, Failed where a watchdog does not end."""
    found = left_over(server)
    if found:
        server.execute("SELECT encryptdb.fence_down(%s, %s)", [control.who(), why])
    still = left_over(server)
    if still:
        raise Refused(f"The {server.side} is still fenced: {', '.join(still)}.", hint="Run the command again.")
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
    return bytes(message).decode(errors="replace").strip().splitlines()[0] if message else "no words"
