"""Compares all tables of one database, group by group; a busy table is retried later, alone."""

from collections import deque
from dataclasses import dataclass

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.verify import catalog
from encryptdb.controller.verify.apply import Ends
from encryptdb.controller.verify.catalog import Pair
from encryptdb.controller.verify.compare import Comparer
from encryptdb.controller.verify.point import Meeting, Missed, NotLocked
from encryptdb.controller.verify.result import DatabaseResult, TableResult
from encryptdb.controller.verify.scan import Unreadable
from encryptdb.controller.waiting import Clock, Reporter

BUSY_SECONDS = 120.0
"""How long a busy table is retried, from its first failure."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries of a table, at most."""

MISSES = 10
"""How often in a row another heartbeat may interfere before the tables count as busy."""

LONG_WRITERS_SQL = """
-- Who has held one of these tables against our lock for more than a second? Then asking for it would only make
-- other writers wait. Where others' transactions are hidden from us, xact_start is NULL and nobody is found.
SELECT l.relation::bigint,
       min(CASE WHEN l.pid IS NULL THEN 'a prepared transaction holds it'
                ELSE format('%%s (pid %%s) has worked on it since %%s',
                            a.backend_type, l.pid, to_char(a.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"')) END)
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s::oid[])
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                  'AccessExclusiveLock')
   AND (l.pid IS NULL OR a.xact_start < clock_timestamp() - interval '1 second')
 GROUP BY l.relation
"""


@dataclass
class _Group:
    """Tables to try together. `due`: when to try; `since`: when it was first busy (monotonic)."""

    pairs: list[Pair]
    due: float = 0.0
    since: float | None = None
    pause: float = 0.25


def compare_database(
    ends: Ends, reporter: Reporter, clock: Clock, *, busy_seconds: float | None = None
) -> DatabaseResult:
    """Compare every table of one database, and its sequences if the target serves: until then they lag by design.

    Raises NotYet if the subscriber is far behind, Failed if a server is unavailable or the apply worker fails."""
    opened = ends.publisher.side == "target"
    with Meeting(ends, reporter, clock) as meeting, Comparer(meeting) as comparer:
        result = DatabaseResult(ends.database)
        with ends.publisher.translated(ends.database):
            publisher = catalog.tables(meeting.publisher)
            result.not_covered = catalog.not_covered(meeting.publisher, sequences_compared=opened)
        with ends.subscriber.translated(ends.database):
            subscriber = catalog.tables(meeting.subscriber)
        pairs, different = catalog.pair_up(ends.database, publisher, subscriber, comparer.sides)
        reporter.say(f"comparing {ends.database}: {len(pairs)} tables")
        meeting.settle()
        result.tables = sorted(
            different
            + _Work(meeting, comparer, result, BUSY_SECONDS if busy_seconds is None else busy_seconds).through(
                catalog.groups(pairs)
            ),
            key=lambda t: t.table,
        )
        if opened:
            with ends.subscriber.translated(ends.database):
                result.sequences = catalog.sequences(
                    ends.database, ends.subscriber.db(ends.database), ends.publisher.db(ends.database)
                )
        result.waited_ms = meeting.waited_ms
        return result


class _Work:
    """The queue of tables to compare."""

    def __init__(self, meeting: Meeting, comparer: Comparer, result: DatabaseResult, busy_seconds: float) -> None:
        self.meeting, self.comparer, self.result, self.busy_seconds = meeting, comparer, result, busy_seconds
        self.clock = meeting.clock
        self.queue: deque[_Group] = deque()
        self.found: list[TableResult] = []
        self.misses = 0

    def through(self, groups: list[list[Pair]]) -> list[TableResult]:
        """Compare all tables; one result each."""
        self.queue.extend(_Group(pairs) for pairs in groups)
        while self.queue:
            group = min(self.queue, key=lambda g: g.due)
            self.queue.remove(group)
            self.clock.sleep(max(0.0, group.due - self.clock.monotonic()))
            self._spare_long_writers(group)
            if group.pairs:
                self._try(group)
        return self.found

    def _try(self, group: _Group) -> None:
        try:
            with self.meeting.at_one_point(group.pairs) as point:
                self.misses = 0
                self._compare(group, point)
        except NotLocked as why:
            if len(group.pairs) > 1:
                # Tables that are written together are hard to lock at once, but not one by one.
                half = len(group.pairs) // 2
                self.queue.append(_Group(group.pairs[:half], group.due))
                self.queue.append(_Group(group.pairs[half:], group.due))
            else:
                self._again(group.pairs[0], why.reason, final=why.final, of=group)
        except Missed:
            self.misses += 1
            if self.misses < MISSES:
                self.queue.append(group)
            else:
                for pair in group.pairs:
                    self._again(pair, "busy: other heartbeats interfered every time", final=True, of=group)

    def _compare(self, group: _Group, point: LSN) -> None:
        self.result.point = max(point, self.result.point or point)
        for pair in group.pairs:
            try:
                self.found.append(self.comparer.table(pair, point))
            except Unreadable as why:
                self._again(pair, why.reason, final=why.final, of=group)

    def _spare_long_writers(self, group: _Group) -> None:
        """Postpone the tables whose lock request would only make writers wait."""
        ends = self.meeting.ends
        oids = [p.publisher.oid for p in group.pairs]
        held: dict[int, str] = dict(ends.publisher.rows(None, LONG_WRITERS_SQL, [oids], database=ends.database))
        for pair in [p for p in group.pairs if p.publisher.oid in held]:
            group.pairs.remove(pair)
            self._again(pair, f"busy: {held[pair.publisher.oid]}", final=False, of=group)

    def _again(self, pair: Pair, reason: str, *, final: bool, of: _Group) -> None:
        """Retry one table later, alone, or record why it could not be compared."""
        now = self.clock.monotonic()
        since = of.since if of.since is not None else now
        if final or now - since >= self.busy_seconds:
            why = f"could not be compared: {reason}"
            self.found.append(TableResult(self.meeting.ends.database, pair.shown, equal=None, reason=why))
            self.meeting.reporter.say(f"{self.meeting.ends.database}: {pair.shown} {why}")
            return
        self.queue.append(_Group([pair], now + of.pause, since, min(of.pause * 2, LONGEST_PAUSE)))
