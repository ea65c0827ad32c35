"""End markers, and the drain to them.

Acknowledged asynchronous commits can lie past `pg_current_wal_lsn()`, so no position read there is an end. A marker is
an update of the heartbeat, committed synchronously once the fence holds, one per database because each has its own
slot. Changes arrive in commit order, so a server that has the marker has everything before it.
"""

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import heartbeat
from encryptdb.controller.postgres.heartbeat import Beat
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import AGAIN, Failed


def commit(direction: Direction) -> dict[str, Beat]:
    """Commit one marker in every database of `from_`, in parallel. By database name."""
    return direction.in_each(lambda d: heartbeat.beat(direction.from_, d.name))


def drain(direction: Direction, markers: dict[str, Beat], *, seconds: float, clock: Clock) -> None:
    """Return when every database of `to` has its marker. Raises Failed, naming those that do not, after `seconds`."""
    started = clock.monotonic()
    waiting = dict(markers)
    while True:
        for database in list(waiting):
            n = heartbeat.read(direction.to, database)
            if n is not None and n >= waiting[database].n:
                del waiting[database]
        if not waiting:
            return
        if clock.monotonic() - started >= seconds:
            raise Failed(
                f"The {direction.to.side} did not catch up within {seconds:.1f} s.",
                detail=f"Its end marker has not arrived in: {', '.join(sorted(waiting))}.",
                hint=f"At a quieter time, or with a longer --max-pause: {AGAIN}",
            )
        clock.sleep(0.0005)
