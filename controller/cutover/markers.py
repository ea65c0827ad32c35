"""End markers, and the drain to them.

Acknowledged asynchronous commits can lie past `pg_current_wal_lsn()`, so no position read there is an end. A marker
is: an update of the heartbeat, committed synchronously after the fence holds, one per database because each has its own
slot. Changes arrive in the order of their commits, so a side that shows the marker has everything before it.
"""

from dataclasses import dataclass

from controller.cutover.way import Way, last_value
from controller.errors import Failed
from controller.lsn import LSN
from controller.waiting import Clock

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


def commit(way: Way) -> dict[str, Marker]:
    """Commit one marker in every database of `from_`, at the same time. By database name."""

    def mark(database: str) -> Marker:
        with way.from_.translated(database):
            cursor = way.from_.db(database).execute(MARK_SQL)
            cursor.nextset()
            cursor.nextset()
            row = cursor.fetchone()
            if row is None:
                raise Failed(
                    f"Database {database!r} on the {way.from_.side} has no heartbeat row.",
                    hint="Run `python -m controller prepare` again.",
                )
            return Marker(row[0], last_value(cursor))

    return way.in_each(lambda d: mark(d.name))


def drain(way: Way, markers: dict[str, Marker], *, seconds: float, clock: Clock) -> None:
    """Return when every database of `to` shows its marker. Raises Failed, which names those that do not, after
    `seconds`."""
    started = clock.monotonic()
    waiting = dict(markers)
    while True:
        for database in list(waiting):
            with way.to.translated(database):
                row = way.to.db(database).execute(SEEN_SQL).fetchone()
            if row is not None and row[0] >= waiting[database].n:
                del waiting[database]
        if not waiting:
            return
        if clock.monotonic() - started >= seconds:
            raise Failed(
                f"The {way.to.side} did not catch up within {seconds:.1f} s.",
                detail=f"Its end marker has not arrived in: {', '.join(sorted(waiting))}.",
                hint="Look at the lag (python -m controller status) and run this again in a quieter moment, or with "
                "a longer --max-pause.",
            )
        clock.sleep(0.0005)
