"""Reads a logical replication slot without consuming it: streaming replication that confirms nothing.

A walsender may start at any position from the slot's confirmed_flush_lsn on, skips what was committed before it, and
moves the slot only when the client confirms. pg_logical_slot_peek_* would materialise its whole answer in temporary
files on the source.

The walsender decodes everything from the slot's position on, though. Where that is much and max_replication_slots
allows it, the connection makes a temporary copy of the slot and advances that: pg_replication_slot_advance reads WAL
without collecting rows, about five times as fast.

Formats: PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Replication Message Formats".
"""

import contextlib
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import errors, pq

from encryptdb.controller.postgres import slots
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.contract.errors import AGAIN, Failed

SENDER_TIMEOUT_SECONDS = 20
"""wal_sender_timeout of our walsender: it requests a reply after half of it, and ends if the client is gone."""

STALL_SECONDS = 120.0
"""The connection is given up if the walsender sends nothing, not even a keepalive, for this long."""

SKIP_BYTES = 16 << 20
"""WAL before the start of the reading for which a temporary slot is made."""

SKIP_SECONDS = 6 * 3600.0
"""Limit for skipping it: hours of a busy server's WAL are hundreds of gigabytes."""

DISTANCE_SQL = """
-- WAL between the slot and a position, and whether one more slot can be made.
SELECT (%s::pg_lsn - confirmed_flush_lsn)::bigint,
       (SELECT count(*) FROM pg_replication_slots) < current_setting('max_replication_slots')::int
  FROM pg_replication_slots WHERE slot_name = %s
"""

_K, _W, _B, _C = b"kwBC"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_XLOG_DATA = struct.Struct(">cQQq")
_KEEPALIVE = struct.Struct(">cQqB")
_BEGIN = struct.Struct(">cQqI")
_COMMIT = struct.Struct(">cBQQq")


@dataclass(frozen=True)
class Begin:
    """BEGIN of a transaction. `lsn` is the start of its commit record; `at` its commit time, to the microsecond; `xid`
    has 32 bits, as pg_xact_commit_timestamp takes it."""

    lsn: LSN
    at: datetime
    xid: int


@dataclass(frozen=True)
class Commit:
    """COMMIT of a transaction: start and end of its commit record."""

    lsn: LSN
    end: LSN


@dataclass(frozen=True)
class Keepalive:
    """Everything committed before `sent` has been sent."""

    sent: LSN
    wants_reply: bool


@dataclass(frozen=True)
class Other:
    """Any other message, such as a row: `size` in bytes."""

    size: int


Message = Begin | Commit | Keepalive | Other


def read(data: bytes | memoryview) -> Message:
    """Parse one CopyData frame of a logical walsender. Pure."""
    if data[0] == _K:
        _, sent, _, wants = _KEEPALIVE.unpack_from(data)
        return Keepalive(LSN(sent), wants == 1)
    if data[0] != _W:
        return Other(len(data))
    payload = data[_XLOG_DATA.size :]
    if payload[0] == _B:
        _, lsn, at, xid = _BEGIN.unpack_from(payload)
        return Begin(LSN(lsn), _EPOCH + timedelta(microseconds=at), xid)
    if payload[0] == _C:
        _, _, lsn, end, _ = _COMMIT.unpack_from(payload)
        return Commit(LSN(lsn), LSN(end))
    return Other(len(data))


def status_update(now: datetime) -> bytes:
    """The reply to a keepalive that confirms nothing: at 0/0 the walsender does not move the slot
    (ProcessStandbyReplyMessage)."""
    since = (now - _EPOCH) // timedelta(microseconds=1)
    return struct.pack(">cQQQqB", b"r", 0, 0, 0, since, 0)


@contextlib.contextmanager
def stream(
    server: Server, database: str, slot: str, publication: str, start: LSN, *, clock: Clock, reporter: Reporter
) -> Iterator[Iterator[Message | None]]:
    """The slot's messages from the first transaction committed at or after `start`, or after confirmed_flush_lsn if
    that is later. `None` means that nothing more has arrived yet; iteration ends only by an error.

    After the block the slot is inactive again, at the same position. Raises Failed if the server refuses, or sends
    nothing for 120 s.
    """
    with server.translated(database):
        slots.wait_inactive(server, slot, reporter=reporter, clock=clock)
        connection = server.connect_replication(database, wal_sender_timeout=f"{SENDER_TIMEOUT_SECONDS}s")
        read_from = slot
        try:
            read_from = _nearer(server, connection, slot, start, clock, reporter)
            _start(connection.pgconn, read_from, publication, start)
            yield _messages(connection.pgconn, slot, clock)
        finally:
            connection.close()
            slots.wait_inactive(server, read_from, reporter=reporter, clock=clock)


def _nearer(server: Server, connection: Db, slot: str, start: LSN, clock: Clock, reporter: Reporter) -> str:
    """The slot to read: the slot itself, or a temporary copy of it advanced to `start`."""
    row = server.row(DISTANCE_SQL, [start, slot], database="postgres")
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
        # Another session took the last slot in between.
        return slot
    return copy


def _run(connection: Db, query: str, what: str, clock: Clock, reporter: Reporter) -> None:
    """Run one query over the simple protocol, the only one that a walsender supports."""
    pgconn = connection.pgconn
    pgconn.send_query(query.encode())

    def answered() -> bool | None:
        if select.select([pgconn.socket], [], [], 0)[0]:
            pgconn.consume_input()
        return None if pgconn.is_busy() else True

    try:
        wait_until(answered, what=what, seconds=SKIP_SECONDS, every=0.02, reporter=reporter, clock=clock)
    except BaseException:
        # A busy server does not notice that its client is gone, and would keep the copy of the slot.
        connection.cancel_safe()
        raise
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise errors.error_from_result(result)


def _start(pgconn: pq.abc.PGconn, slot: str, publication: str, start: LSN) -> None:
    # The protocol has no parameters; both names are ours: letters, digits and underscores (postgres.object_names).
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


def _messages(pgconn: pq.abc.PGconn, slot: str, clock: Clock) -> Iterator[Message | None]:
    received = clock.monotonic()
    while True:
        size, frame = pgconn.get_copy_data(1)
        if size > 0:
            received = clock.monotonic()
            message = read(frame)
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
            elif clock.monotonic() - received > STALL_SECONDS:
                raise _stalled(slot)


def _stalled(slot: str) -> Failed:
    return Failed(
        f"Timed out after {STALL_SECONDS:.0f} s waiting for the source's walsender.",
        detail=f"It was decoding slot {slot} for the proof of the exact LSN. Neither server was changed.",
        hint=f"Check the source's server log and load, then: {AGAIN}",
    )
