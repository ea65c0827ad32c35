"""The apply worker of one database, observed on the subscriber: its position, and whom it waits for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.postgres import heartbeat
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.contract.errors import Failed

WORKER_SECONDS = 30.0
"""How long there may be no apply worker."""

RESTARTS = 3
"""How often the worker may restart in one wait: after an error it restarts within 5 s and fails again."""

WORKER_SQL = """
-- Who applies, does it (or a parallel worker of it, known from 16 on by its leader_pid) wait for this backend, and how
-- far has it received the log?
SELECT max(pid) FILTER (WHERE to_jsonb(s) ->> 'leader_pid' IS NULL),
       coalesce(bool_or(%s = ANY (pg_blocking_pids(pid))), false), max(received_lsn)
  FROM pg_stat_subscription s WHERE subname = %s AND pid IS NOT NULL
"""


@dataclass(frozen=True)
class Ends:
    """The two ends of one database's replication. `subscription` is the subscriber's."""

    database: str
    publisher: Server
    subscriber: Server
    subscription: str


@dataclass(frozen=True)
class Worker:
    """`pid` is None without a worker. `held`: it waits for the backend asked about. `received`: its last LSN."""

    pid: int | None
    held: bool
    received: LSN | None


class Apply:
    """Observes the apply worker of one database."""

    def __init__(self, ends: Ends, reporter: Reporter, clock: Clock) -> None:
        self.ends, self.reporter, self.clock = ends, reporter, clock

    def applied(self, connection: Db | None = None) -> int:
        """The heartbeat's n on the subscriber: now, or in the snapshot of `connection`."""
        with self.ends.subscriber.translated(self.ends.database):
            row = (connection or self._watch()).execute(heartbeat.READ_SQL).fetchone()
        return int(only(row)[0])

    def worker(self, gate: Db | None = None) -> Worker:
        """The worker; `held` if it waits for `gate`."""
        pid = gate.info.backend_pid if gate is not None else 0
        row = self.ends.subscriber.row(WORKER_SQL, [pid, self.ends.subscription], database=self.ends.database)
        return Worker(*only(row))

    def reached(self, probe: Callable[[], bool | None], seconds: float) -> bool:
        """Wait for `probe`; False after `seconds`. Raises Failed if the apply worker is missing or keeps failing."""
        started = self.clock.monotonic()
        missing_since: float | None = None
        received: LSN | None = None
        seen: set[int] = set()

        def outcome() -> bool | None:
            nonlocal missing_since, received
            now = self.clock.monotonic()
            if probe():
                return True
            worker = self.worker()
            received = worker.received
            missing_since = None if worker.pid else (missing_since or now)
            seen.update({worker.pid} if worker.pid else ())
            if missing_since is not None and now - missing_since > WORKER_SECONDS:
                raise self._stopped(f"has had no worker for {WORKER_SECONDS:.0f} s")
            if len(seen) > RESTARTS:
                raise self._stopped(f"lost its worker {len(seen) - 1} times within {now - started:.0f} s")
            return False if now - started > seconds else None

        return wait_until(
            outcome,
            what=f"the {self.ends.subscriber.side} to apply a heartbeat in {self.ends.database}",
            # `outcome` returns False first: the caller knows the message.
            seconds=seconds + 60,
            every=0.01,
            reporter=self.reporter,
            clock=self.clock,
            progress=lambda: f"it has received WAL up to {received}",
        )

    def _stopped(self, how: str) -> Failed:
        side = self.ends.subscriber.side
        return Failed(
            f"The {side} is not applying changes in database {self.ends.database!r}.",
            detail=f"Its subscription {self.ends.subscription} {how}.",
            hint=f"See the {side}'s server log for the conflicting row or table. Applications are not affected.",
        )

    def _watch(self) -> Db:
        return self.ends.subscriber.db(self.ends.database)


def only(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The only row."""
    assert row is not None, "the heartbeat has one row, and an aggregate too"
    return row
