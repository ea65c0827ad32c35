"""What a walsender sends, read from its bytes: frames of streaming replication, pgoutput's BEGIN and COMMIT. Pure.

Formats: PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Replication Message Formats".
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from encryptdb.controller.postgres.lsn import LSN

_K, _W, _B, _C = b"kwBC"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_XLOG_DATA = struct.Struct(">cQQq")
_KEEPALIVE = struct.Struct(">cQqB")
_BEGIN = struct.Struct(">cQqI")
_COMMIT = struct.Struct(">cBQQq")


@dataclass(frozen=True)
class Begin:
    """A transaction of the slot. `lsn` is the start of its commit record; `at` its commit time, to the microsecond;
    `xid` has 32 bits, as pg_xact_commit_timestamp takes it."""

    lsn: LSN
    at: datetime
    xid: int


@dataclass(frozen=True)
class Commit:
    """The end of a transaction's changes: start and end of its commit record."""

    lsn: LSN
    end: LSN


@dataclass(frozen=True)
class Keepalive:
    """`sent` is how far the walsender has decoded; everything committed before it has been sent."""

    sent: LSN
    wants_reply: bool


@dataclass(frozen=True)
class Other:
    """Anything else, e.g. a row: of no interest but for its size in bytes."""

    size: int


Message = Begin | Commit | Keepalive | Other


def read(data: bytes | memoryview) -> Message:
    """One CopyData frame of a logical walsender."""
    if data[0] == _K:
        _, sent, _, wants = _KEEPALIVE.unpack_from(data)
        return Keepalive(LSN(sent), wants == 1)
    if (payload := payload_of(data)) is None:
        return Other(len(data))
    if payload[0] == _B:
        _, lsn, at, xid = _BEGIN.unpack_from(payload)
        return Begin(LSN(lsn), _EPOCH + timedelta(microseconds=at), xid)
    if payload[0] == _C:
        _, _, lsn, end, _ = _COMMIT.unpack_from(payload)
        return Commit(LSN(lsn), LSN(end))
    return Other(len(data))


def payload_of(frame: bytes | memoryview) -> bytes | memoryview | None:
    """The plugin's own message inside a frame of data; None in any other frame."""
    return frame[_XLOG_DATA.size :] if frame[0] == _W else None


def status_update(now: datetime) -> bytes:
    """The answer to a keepalive that confirms nothing: with 0/0 the walsender moves the slot nowhere
    (ProcessStandbyReplyMessage)."""
    since = (now - _EPOCH) // timedelta(microseconds=1)
    return struct.pack(">cQQQqB", b"r", 0, 0, 0, since, 0)
