"""Reads a replication slot without consuming it: streaming replication that confirms nothing.

A walsender may start at any position from the slot's confirmed_flush_lsn on, skips what was committed before, and moves
the slot only when the client confirms. So the transactions around a position can be read off the slot itself: nothing
that vanishes or stays, and nothing is materialised on the source (pg_logical_slot_peek_* spills its whole answer into
temp files). The price is one walsender for the moment, which the subscription needs later anyway.

It decodes everything from the slot's position on, though, and throws it away. Where that is much and a slot is to
spare, the same connection makes a temporary copy of the slot first and advances that: pg_replication_slot_advance reads
WAL without gathering rows, some five times as fast. The copy goes with the connection.
"""

import contextlib
import select
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime

from psycopg import errors, pq

from encryptdb.controller.exact_lsn.changes import Changes
from encryptdb.controller.exact_lsn.messages import Keepalive, Message, read, status_update
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.contract.errors import Failed

Understand = Callable[[memoryview], Message | Changes]
"""How a frame is read: `messages.read` skips the rows, `changes.RowReader` reads them."""

SENDER_TIMEOUT_SECONDS = 20
"""wal_sender_timeout of our walsender: it asks for a sign of life after half of this, and ends if we are gone."""

STALL_SECONDS = 120.0
"""A walsender that says nothing at all for this long, not even that it lives, is given up."""

SKIP_BYTES = 16 << 20
"""WAL before the start of the reading that is worth a temporary slot."""

SKIP_SECONDS = 6 * 3600.0
"""How long skipping it may take: hours of a busy server's WAL are hundreds of gigabytes."""

DISTANCE_SQL = """
-- How much WAL lies between the slot and a position, and whether one more slot may be made.
SELECT (%s::pg_lsn - confirmed_flush_lsn)::bigint,
       (SELECT count(*) FROM pg_replication_slots) < current_setting('max_replication_slots')::int
  FROM pg_replication_slots WHERE slot_name = %s
"""

RELEASE_SECONDS = 60.0
"""How long the slot may stay active after we hung up."""


@contextlib.contextmanager
def stream(
    server: Server,
    database: str,
    slot: str,
    publication: str,
    start: LSN,
    *,
    clock: Clock,
    reporter: Reporter,
    understand: Understand = read,
    **settings: str,
) -> Iterator[Iterator[Message | Changes | None]]:
    """The slot's messages from the first transaction committed at or after `start` (or confirmed_flush_lsn, if that is
    later), as `understand` reads them. `None` says that nothing more has arrived yet; iteration never ends by itself.
    `settings` are the walsender's, e.g. how it writes values.

    When the block is left the slot is inactive again and stands where it stood. Raises Failed where the server refuses,
    or says nothing for 120 s.
    """
    with server.translated(database):
        _wait_inactive(server, slot, clock, reporter)
        connection = server.connect_replication(database, wal_sender_timeout=f"{SENDER_TIMEOUT_SECONDS}s", **settings)
        read_from = slot
        try:
            read_from = _nearer(server, connection, slot, start, clock, reporter)
            _start(connection.pgconn, read_from, publication, start)
            yield _messages(connection.pgconn, slot, clock, understand)
        finally:
            connection.close()
            _wait_inactive(server, read_from, clock, reporter)


def _nearer(server: Server, connection: Db, slot: str, start: LSN, clock: Clock, reporter: Reporter) -> str:
    """The slot to read: itself, or a temporary copy that stands at `start`, where that is far and a slot to spare."""
    row = server.db("postgres").execute(DISTANCE_SQL, [start, slot]).fetchone()
    if row is None or row[0] is None or row[0] < SKIP_BYTES or not row[1]:
        return slot
    copy = f"{slot}_look"
    try:
        for query in (
            f"SELECT pg_copy_logical_replication_slot('{slot}', '{copy}', true)",
            f"SELECT pg_replication_slot_advance('{copy}', '{start}')",
        ):
            _run(connection, query, f"the source to skip {row[0] / (1 << 20):,.0f} MiB of WAL", clock, reporter)
    except errors.ConfigurationLimitExceeded:
        # Somebody else took the last slot in between.
        return slot
    return copy


def _run(connection: Db, query: str, what: str, clock: Clock, reporter: Reporter) -> None:
    """One query of the simple protocol, the only one that a walsender speaks."""
    pgconn = connection.pgconn
    pgconn.send_query(query.encode())

    def answered() -> bool | None:
        if select.select([pgconn.socket], [], [], 0)[0]:
            pgconn.consume_input()
        return None if pgconn.is_busy() else True

    try:
        wait_until(answered, what=what, seconds=SKIP_SECONDS, every=0.02, reporter=reporter, clock=clock)
    except BaseException:
        # A server that works does not notice that its client went, and would keep the copy of the slot.
        connection.cancel_safe()
        raise
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise errors.error_from_result(result)


def _start(pgconn: pq.abc.PGconn, slot: str, publication: str, start: LSN) -> None:
    # Both names are ours: letters, digits and underscores (postgres.object_names). The protocol has no parameters.
    command = f"START_REPLICATION SLOT {slot} LOGICAL {start} (proto_version '1', publication_names '{publication}')"
    pgconn.send_query(command.encode())
    while pgconn.flush():
        select.select([], [pgconn.socket], [], STALL_SECONDS)
    while pgconn.is_busy():
        if not select.select([pgconn.socket], [], [], STALL_SECONDS)[0]:
            raise _stalled(slot)
        pgconn.consume_input()
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.COPY_BOTH:
        raise errors.error_from_result(result) if result else errors.OperationalError("no answer to START_REPLICATION")


def _messages(
    pgconn: pq.abc.PGconn, slot: str, clock: Clock, understand: Understand
) -> Generator[Message | Changes | None, None, None]:
    heard = clock.monotonic()
    while True:
        size, frame = pgconn.get_copy_data(1)
        if size > 0:
            heard = clock.monotonic()
            message = understand(frame)
            if isinstance(message, Keepalive) and message.wants_reply:
                pgconn.put_copy_data(status_update(datetime.now(UTC)))
                pgconn.flush()
            yield message
        elif size < 0:
            result = pgconn.get_result()
            raise errors.error_from_result(result) if result else errors.OperationalError("the walsender ended")
        else:
            yield None
            if select.select([pgconn.socket], [], [], 1.0)[0]:
                pgconn.consume_input()
            elif clock.monotonic() - heard > STALL_SECONDS:
                raise _stalled(slot)


def _wait_inactive(server: Server, slot: str, clock: Clock, reporter: Reporter) -> None:
    holder = "nobody"

    def probe() -> bool | None:
        nonlocal holder
        row = (
            server.db("postgres")
            .execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND active", [slot])
            .fetchone()
        )
        holder = f"process {row[0]}" if row else "nobody"
        return None if row else True

    wait_until(
        probe,
        what=f"the slot {slot} to be free",
        seconds=RELEASE_SECONDS,
        every=0.02,
        reporter=reporter,
        clock=clock,
        progress=lambda: f"it is held by {holder}",
        hint="Something else reads the slot on the source: see pg_replication_slots and pg_stat_replication there.",
    )


def _stalled(slot: str) -> Failed:
    return Failed(
        f"The source's walsender for the slot {slot} has said nothing for {STALL_SECONDS:.0f} s.",
        detail="It was reading WAL for the proof of the exact LSN. Nothing was changed on either server.",
        hint="See the source's server log and its load, then run this again.",
    )
