"""Compares tables at a held point: reads both sides in parallel, reports progress, yields to DDL and TRUNCATE."""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.verify import locate, scan
from encryptdb.controller.verify.catalog import Pair, Table
from encryptdb.controller.verify.point import Meeting
from encryptdb.controller.verify.result import Digest, RowDifference, TableResult
from encryptdb.controller.verify.scan import Unreadable

T = TypeVar("T")
Reader = Callable[[Db, Table], T]

LOOK_SECONDS = 1.0
"""Seconds between checks whether somebody waits for the table being read. Seen twice, the read is cancelled."""

TELL_SECONDS = 10.0

WAITED_FOR_SQL = """
-- Does anybody wait for this table? Only what needs it alone (DDL, TRUNCATE) has to wait for a reader, and then
-- everybody else waits behind that.
SELECT EXISTS (SELECT FROM pg_locks
                WHERE NOT granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock' AND relation = %s::oid
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class Comparer:
    """Compares tables in the snapshots that `meeting` holds."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        ends = meeting.ends
        self.sides = (ends.publisher.side, ends.subscriber.side)
        self._readers = ((ends.publisher, meeting.publisher), (ends.subscriber, meeting.subscriber))
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="verify")
        self._told = 0.0

    def __enter__(self) -> "Comparer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()

    def table(self, pair: Pair, point: LSN) -> TableResult:
        """Compare one table. Raises Unreadable if it must be retried at another point."""
        done = {"publisher": 0.0, "subscriber": 0.0}

        def tell(side: str) -> Callable[[float], None]:
            return lambda fraction: done.__setitem__(side, fraction)

        ours, theirs = self._both(
            pair,
            lambda c, t: scan.digest(c, t, tell("publisher")),
            lambda c, t: scan.digest(c, t, tell("subscriber")),
            lambda: f"{min(done.values()):.0%}",
        )
        rows = () if ours == theirs else self._locate(pair, ours, theirs)
        source, target = (ours, theirs) if self.sides[0] == "source" else (theirs, ours)
        return TableResult(self.meeting.ends.database, pair.shown, ours == theirs, source, target, point, rows=rows)

    def _locate(self, pair: Pair, ours: Digest, theirs: Digest) -> tuple[RowDifference, ...]:
        """Some of the rows that differ; none if they could not be read."""
        number = locate.number_of_parts(max(ours.rows, theirs.rows))
        looking = "looking for the rows"
        try:
            parts = self._both(
                pair, lambda c, t: scan.parts(c, t, number), lambda c, t: scan.parts(c, t, number), lambda: looking
            )
            wanted = locate.differing_parts(*parts)
            here, there = self._both(
                pair,
                lambda c, t: scan.rows(c, t, number, wanted),
                lambda c, t: scan.rows(c, t, number, wanted),
                lambda: looking,
            )
        except Unreadable:
            return ()
        found = list(locate.differences(here, there, pair.publisher.key, self.sides))
        return tuple(found[: locate.SHOWN])

    def _both(self, pair: Pair, ours: Reader[T], theirs: Reader[T], progress: Callable[[], str]) -> tuple[T, T]:
        """Run both readers in parallel. Raises Unreadable if one does, or a Problem."""
        tables = (pair.publisher, pair.subscriber)
        futures: list[Future[T]] = [
            self._pool.submit(_translated, server, self.meeting.ends.database, reader, connection, table)
            for reader, (server, connection), table in zip((ours, theirs), self._readers, tables, strict=True)
        ]
        try:
            self._attend(pair, futures, progress)
            # Read before the other is cancelled and fails, too.
            failed = next((error for f in futures if f.done() and (error := f.exception())), None)
        finally:
            self._cancel(futures)
        if failed is not None:
            raise failed
        first, second = (f.result() for f in futures)
        return first, second

    def _attend(self, pair: Pair, futures: list[Future[T]], progress: Callable[[], str]) -> None:
        """Report progress until both are done or one failed; return early if somebody waits for the table."""
        waiting_since_last = False
        while True:
            _, pending = concurrent.futures.wait(
                futures, timeout=LOOK_SECONDS, return_when=concurrent.futures.FIRST_EXCEPTION
            )
            if not pending or any(f.done() and f.exception() for f in futures):
                return
            waited_for = self._waited_for(pair)
            if waited_for and waiting_since_last:
                return
            waiting_since_last = waited_for
            now = self.meeting.clock.monotonic()
            if now - self._told >= TELL_SECONDS:
                self._told = now
                self.meeting.reporter.say(f"comparing {self.meeting.ends.database}: {pair.shown}, {progress()}")

    def _waited_for(self, pair: Pair) -> bool:
        for (server, _), table in zip(self._readers, (pair.publisher, pair.subscriber), strict=True):
            if server.value(WAITED_FOR_SQL, [table.oid], database=self.meeting.ends.database):
                return True
        return False

    def _cancel(self, futures: list[Future[T]]) -> None:
        """Cancel the running reads until they end: a cancel between two statements is lost."""
        while not all(f.done() for f in futures):
            for future, (_, connection) in zip(futures, self._readers, strict=True):
                if not future.done() and not connection.closed:
                    connection.cancel_safe(timeout=5)
            concurrent.futures.wait(futures, timeout=0.2)


def _translated(server: Server, database: str, reader: Reader[T], connection: Db, table: Table) -> T:
    with server.translated(database):
        return reader(connection, table)
