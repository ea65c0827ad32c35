"""The fence of the pause: no connections to any migrated database, and no sessions left in them.

Only `ALLOW_CONNECTIONS false` keeps out superusers and background workers too, but existing sessions stay. They are
ended until, read in this order, nobody holds a lock on the database object, and no backend is in it but the
controller's, the walsenders of our slots, and autovacuum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db, Server, rows_of
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import AGAIN, Failed, Refused

PREPARED_SQL = """
-- Prepared transactions: they hold changes that no drain would bring over, and could be committed later.
SELECT gid, database::text, owner::text FROM pg_prepared_xacts WHERE database = ANY (%s)
"""

EVICT_SQL = """
SELECT pid, database, role, kind, client, application, refused FROM encryptdb.evict(%s, %s, %s)
"""


@dataclass(frozen=True)
class Inside:
    """A session found in a database. `refused`: this role may not end it."""

    pid: int
    database: str | None
    role: str | None
    kind: str
    client: str | None
    application: str | None
    refused: bool

    def __str__(self) -> str:
        where = f" in {self.database}" if self.database else ""
        who = f" of {self.role}" if self.role else ""
        what = f" ({self.application})" if self.application else ""
        return f"{self.kind} pid {self.pid}{who}{where}{what}"


def up(connection: Db, databases: Sequence[Named]) -> None:
    """Record and fence all databases in one transaction. `connection` is to the control database."""
    connection.execute("SELECT encryptdb.fence_up(%s)", [[d.oid for d in databases]])


def down(connection: Db, why: str) -> int:
    """Restore what `up` recorded; returns the number of databases (0: the watchdog was faster)."""
    row = connection.execute("SELECT encryptdb.fence_down(%s, %s)", [control.who(), why]).fetchone()
    return int(row[0]) if row else 0


def clear(
    connection: Db,
    databases: Sequence[Named],
    *,
    spared: Sequence[int],
    slots: Sequence[str],
    seconds: float,
    clock: Clock,
    side: str,
) -> None:
    """End sessions in the databases until none is left. After `seconds`, raises Refused, naming those that this role
    may not end, or Failed, naming those that remain."""
    started = clock.monotonic()
    while True:
        found = evict(connection, databases, spared=spared, slots=slots)
        if not found:
            return
        if clock.monotonic() - started >= seconds:
            refused = [i for i in found if i.refused]
            raise (Refused if refused else Failed)(
                f"Could not close the {side}: sessions remain after {seconds:g} s.",
                detail="; ".join(str(i) for i in refused or found),
                hint="End them as a role that may (only a superuser may end a superuser's), or stop what opens them, "
                f"then: {AGAIN}"
                if refused
                else f"See what keeps them (pg_stat_activity, pg_locks), then: {AGAIN}",
            )
        clock.sleep(0.001)


def evict(connection: Db, databases: Sequence[Named], *, spared: Sequence[int], slots: Sequence[str]) -> list[Inside]:
    """One pass: end the sessions in the databases, and return them. Empty: closed."""
    return rows_of(connection, Inside, EVICT_SQL, [[d.oid for d in databases], list(spared), list(slots)])


def refuse_prepared(connection: Db, databases: Sequence[Named], side: str) -> None:
    """Raise Refused, naming them, if there are prepared transactions."""
    rows = connection.execute(PREPARED_SQL, [[d.name for d in databases]]).fetchall()
    found = [f"{gid!r} of {owner} in {database}" for gid, database, owner in rows]
    if found:
        raise Refused(
            f"The {side} has prepared transactions.",
            detail=f"{'; '.join(found)}. Replication does not carry them until they are committed.",
            hint=f"COMMIT PREPARED or ROLLBACK PREPARED them, then: {AGAIN}",
        )


def empty(server: Server, databases: Sequence[Named], *, slots: Sequence[str], seconds: float, clock: Clock) -> None:
    """End the sessions in databases that a lasting fence has just closed. Apply workers restart by themselves.

    Raises as `clear`."""
    with server.translated(CONTROL_DATABASE):
        try:
            clear(
                server.db(),
                databases,
                spared=server.pids(),
                slots=slots,
                seconds=seconds,
                clock=clock,
                side=server.side,
            )
        except psycopg.errors.UndefinedFunction:
            raise Failed(
                f"The control database of the {server.side} has no fence.",
                hint=f"encryptdb prepare --stack {server.stack}",
            ) from None
