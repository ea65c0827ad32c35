"""End markers, and the drain to them.

Acknowledged asynchronous commits can lie past `pg_current_wal_lsn()`, so no position read there is an end. A marker
is: an update of the heartbeat, committed synchronously after the fence holds, one per database because each has its own
slot. Changes arrive in the order of their commits, so a side that shows the marker has everything before it.
"""

from dataclasses import dataclass

from encryptdb.controller.cutover.direction import Direction, last_value
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import Failed

MARK_SQL = """
BEGIN;
SET LOCAL synchronous_commit = on;
UPDATE encryptdb.heartbeat SET n = n + 1, at = clock_timestamp() WHERE id = 1 RETURNING n;
COMMIT;
SELECT pg_current_wal_flush_lsn()
"""

SEEN_SQL = "SELECT n FROM encryptdb.heartbeat WHERE id = 1"


@dataclass(frozen=True)
class Marker:
    """The heartbeat's count in one database, and the position up to which its commit made the WAL durable."""

    n: int
    lsn: LSN


def commit(direction: Direction) -> dict[str, Marker]:
    """Commit one marker in every database of `from_`, at the same time. By database name."""

    def prepared_parameter(database: str) -> Marker:
        with direction.from_.translated(database):
            cursor = direction.from_.db(database).execute(MARK_SQL)
            cursor.nextset()
            cursor.nextset()
            row = cursor.fetchone()
            if row is None:
                raise Failed(
                    f"Database {database!r} on the {direction.from_.side} has no heartbeat row.",
                    hint="Run `python -m controller prepare` again.",
                )
            return Marker(row[0], last_value(cursor))

    return direction.in_each(lambda d: prepared_parameter(d.name))


def drain(direction: Direction, markers: dict[str, Marker], *, seconds: float, clock: Clock) -> None:
    """Return when every database of `to` shows its marker. Raises Failed, which names those that do not, after
    `seconds`."""
    started = clock.monotonic()
    waiting = dict(markers)
    while True:
        for database in list(waiting):
            with direction.to.translated(database):
                row = direction.to.db(database).execute(SEEN_SQL).fetchone()
            if row is not None and row[0] >= waiting[database].n:
                del waiting[database]
        if not waiting:
            return
        if clock.monotonic() - started >= seconds:
            raise Failed(
                f"The {direction.to.side} did not catch up within {seconds:.1f} s.",
                detail=f"Its end marker has not arrived in: {', '.join(sorted(waiting))}.",
                hint="Look at the lag (python -m controller status) and run this again in a quieter moment, or with "
                "a longer --max-pause.",
            )
        clock.sleep(0.0005)
