"""Brings both sides of a replicated database to the same point while applications write, and holds it.

On the publisher, writers of some tables wait for the few milliseconds in which a snapshot is taken and a heartbeat (the
marker) is committed. On the subscriber, a row lock stops the apply worker right before that marker, and a snapshot is
taken there. docs/verify.md proves that the snapshots are equal.
"""

import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType

from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from encryptdb.controller.postgres import heartbeat
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.verify.apply import Apply, Ends, only
from encryptdb.controller.verify.catalog import Pair
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet

LOCK_MS = 100
"""lock_timeout in ms, and so how long a writer can wait behind our request."""

SETTLE_SECONDS = 300.0
"""How long the subscriber may take to apply a first heartbeat, before any snapshot is held."""

MARKER_SECONDS = 600.0
"""How long it may take to apply the marker: it can queue behind a big transaction."""

DEADLOCK_SQL = "SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'"

SCAN_SETTINGS_SQL = """
-- The same text for the same value on both sides, no policy that hides rows, nothing that ends a long read, and
-- no more than one processor of a server in use. Only what this version of PostgreSQL has.
SELECT count(set_config(s.name, w.setting, false))
  FROM (VALUES ('search_path', 'pg_catalog'), ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'),
               ('IntervalStyle', 'postgres'), ('extra_float_digits', '3'), ('bytea_output', 'hex'),
               ('xmlbinary', 'base64'), ('lc_monetary', 'C'), ('row_security', 'off'),
               ('transaction_timeout', '0'), ('max_parallel_workers_per_gather', '0'), ('jit', 'off')) w (name, setting)
  JOIN pg_settings s ON lower(s.name) = lower(w.name)
"""

SCAN_SECONDS = 24 * 3600.0
"""statement_timeout for reading one table, or one piece of it."""


class NotLocked(Exception):
    """The tables could not be locked; nothing is held. `final`: retrying is useless."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final = reason, final


class Missed(Exception):
    """The subscriber passed the marker because of another heartbeat: retry."""


class Meeting:
    """The sessions that bring both sides of one database to the same point.

    While it is held, `publisher` and `subscriber` are read-only connections with equal snapshots.
    """

    def __init__(self, ends: Ends, reporter: Reporter, clock: Clock) -> None:
        self.ends, self.reporter, self.clock = ends, reporter, clock
        self.waited_ms = 0.0
        self._apply = Apply(ends, reporter, clock)
        with contextlib.ExitStack() as opened:
            self.publisher = opened.enter_context(_reader(ends.publisher, ends.database))
            self.subscriber = opened.enter_context(_reader(ends.subscriber, ends.database))
            self._gate = opened.enter_context(ends.subscriber.connect(ends.database))
            patience = self._patience_ms()
            # The commit is asynchronous, so that writers are not held back for a flush as well.
            self._locks = opened.enter_context(
                ends.publisher.connect(
                    ends.database,
                    statement_seconds=patience * 2 / 1000,
                    lock_timeout=str(patience),
                    synchronous_commit="off",
                )
            )
            self._opened = opened.pop_all()

    def __enter__(self) -> "Meeting":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def settle(self) -> None:
        """Wait until the subscriber has caught up, so that snapshots are not held for long. Raises NotYet."""
        beat = heartbeat.beat(self.ends.publisher, self.ends.database).n

        def applied() -> bool | None:
            with self._on_subscriber():
                return True if self._apply.applied() >= beat else None

        if not self._apply.reached(applied, SETTLE_SECONDS):
            raise NotYet(
                f"The {self.ends.subscriber.side} has not caught up in database {self.ends.database!r}.",
                detail=f"A heartbeat committed {SETTLE_SECONDS:.0f} s ago has not been applied there yet.",
                hint=f"When it has caught up (encryptdb status --stack {self.ends.subscriber.stack}): {AGAIN}",
            )

    @contextlib.contextmanager
    def at_one_point(self, pairs: Sequence[Pair]) -> Iterator[LSN]:
        """Hold both snapshots while the block runs; yields the marker's LSN: they hold exactly the commits before it.
        Raises NotLocked or Missed, with nothing held; Failed if the subscriber does not reach it."""
        try:
            with self._gate_closed():
                beat, marker = self._mark(pairs)
                # The marker was committed without a flush, and only flushed log is sent.
                heartbeat.beat(self.ends.publisher, self.ends.database)
                self._await(beat)
            yield marker
        finally:
            for connection in (self.publisher, self.subscriber):
                _end(connection)

    @contextlib.contextmanager
    def _gate_closed(self) -> Iterator[None]:
        """Block the apply worker at the next heartbeat while the block runs."""
        self._close_gate()
        try:
            yield
        finally:
            _end(self._gate)

    def _close_gate(self) -> None:
        with self._on_subscriber():
            self._gate.execute("BEGIN")
            self._gate.execute(heartbeat.LOCK_SQL)

    def _mark(self, pairs: Sequence[Pair]) -> tuple[int, LSN]:
        """Snapshot and marker, with no commit to these tables in between. Returns the marker's n and LSN."""
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(p.publisher.identifier) for p in pairs)
        with self._on_publisher():
            # A snapshot is taken by the first query, not by BEGIN.
            self.publisher.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._locks.execute("BEGIN")
            asked = self.clock.monotonic()
            try:
                self._locks.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
                self.publisher.execute("SELECT 1")
                # One message, so that the locks go the moment the marker's commit record is written.
                marker = heartbeat.commit(self._locks)
            except (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected):
                raise NotLocked("busy: its writers hold their locks all the time") from None
            except errors.InsufficientPrivilege:
                raise NotLocked(self._denied(), final=True) from None
            except errors.UndefinedTable:
                raise NotLocked("it was dropped or renamed meanwhile", final=True) from None
            finally:
                _end(self._locks)
                self.waited_ms = max(self.waited_ms, (self.clock.monotonic() - asked) * 1000)
        return marker.n, marker.lsn

    def _await(self, beat: int) -> None:
        """Wait until the apply worker is blocked right before the marker `beat`, and take the subscriber's snapshot."""

        def probe() -> bool | None:
            with self._on_subscriber():
                if not self._apply.worker(self._gate).held:
                    if self._apply.applied() >= beat:
                        raise Missed
                    return None
                self.subscriber.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                applied = self._apply.applied(self.subscriber)
                if applied == beat - 1:
                    return True
                self.subscriber.execute("ROLLBACK")
            if applied >= beat:
                raise Missed
            # Another heartbeat came first: let it pass, and block the next.
            self._gate.execute("ROLLBACK")
            self._close_gate()
            return None

        if not self._apply.reached(probe, MARKER_SECONDS):
            raise Failed(
                f"The {self.ends.subscriber.side} did not reach the marker within {MARKER_SECONDS:.0f} s.",
                detail=f"Database {self.ends.database!r}. Probably a big transaction is being applied before it.",
                hint=f"At a quieter time: {AGAIN}",
            )

    def _denied(self) -> str:
        user = self.ends.publisher.login.user
        return (
            f"the role {user} may not lock it on the {self.ends.publisher.side} "
            f"(GRANT pg_read_all_data, pg_write_all_data TO {user}, until retire)"
        )

    def _patience_ms(self) -> int:
        """Far below deadlock_timeout, so that no writer is cancelled as the victim of a deadlock with us."""
        with self._on_publisher():
            row = self.publisher.execute(DEADLOCK_SQL).fetchone()
        return max(5, min(LOCK_MS, int(only(row)[0]) // 10))

    def _on_publisher(self) -> contextlib.AbstractContextManager[None]:
        return self.ends.publisher.translated(self.ends.database)

    def _on_subscriber(self) -> contextlib.AbstractContextManager[None]:
        return self.ends.subscriber.translated(self.ends.database)


def _reader(server: Server, database: str) -> Db:
    """A session for long reads, with a short lock_timeout: a table that is being altered is read later."""
    connection = server.connect(database, statement_seconds=SCAN_SECONDS, lock_timeout="2000")
    with server.translated(database):
        connection.execute(SCAN_SETTINGS_SQL)
    return connection


def _end(connection: Db) -> None:
    """End the transaction, if there is one."""
    if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
        connection.execute("ROLLBACK")
