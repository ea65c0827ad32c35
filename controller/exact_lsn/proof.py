"""The proof: which transactions of the slot the copy holds, told by their commit times.

A transaction is included iff the copy's pg_xact_commit_timestamp(xid) equals, to the microsecond, the commit time
that the slot gives for that xid. The xid alone proves nothing: the copy hands the missing xids out again, to
transactions of its own, within seconds. The heartbeat that `prepare` committed before the snapshot must be there by the
same rule; if it is not, the copy is of another snapshot, or its commit timestamps are gone, and there is no proof.
"""

from datetime import datetime

from psycopg import errors

from encryptdb.controller.exact_lsn.evidence import Bracket, Candidate
from encryptdb.controller.exact_lsn.messages import Begin, Commit, Keepalive, Other
from encryptdb.controller.exact_lsn.prefix import NotAPrefix, Prefix
from encryptdb.controller.exact_lsn.slot_stream import stream
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Database
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import Heartbeat
from encryptdb.stacks.contract.errors import Refused

WINDOW_BYTES = 1 << 20
"""How far before the candidates the reading begins. It goes back 64 times as far, then to the slot's own position,
while it finds nothing included."""

BATCH_TRANSACTIONS = 512
BATCH_BYTES = 1 << 20
"""The copy is asked about this many transactions at once, or after this many bytes: a large transaction that is missing
is recognised by its BEGIN, and its rows are not read."""

LOOK_AHEAD = 64
"""Missing transactions looked at beyond the first: an included one among them would contradict the method."""

TELL_SECONDS = 10.0
"""How often the operator hears of a long reading."""

COMMIT_TIMES_SQL = """
-- The copy's commit times of these xids; NULL where it has none.
SELECT x, pg_xact_commit_timestamp(x::xid) FROM unnest(%s::text[]) AS x
"""

BEAT_SQL = """
-- One commit after the snapshot in this database, so that there is a first missing one even on an idle source.
UPDATE encryptdb.heartbeat SET n = n + 1, at = clock_timestamp()
RETURNING (pg_current_xact_id()::text::numeric % 4294967296)::bigint
"""


class Void(Exception):
    """There is no proof here; says why."""


class Lost(Void):
    """The copy has no commit timestamps (any more): it may be ours all the same, but they cannot tell."""


def check_anchor(copy: Server, databases: tuple[Database, ...], heartbeats: dict[str, Heartbeat]) -> None:
    """Raise Void unless the copy holds prepare's heartbeat of each database, with its exact commit time; Lost where
    the copy knows no commit time for it."""
    for database in databases:
        told = heartbeats.get(database.name)
        if told is None:
            raise Void(f"prepare recorded no heartbeat for the database {database.name}")
        xid, at = told.xid, told.at
        found = commit_times(copy, [xid])[xid]
        beat = f"prepare's heartbeat in {database.name} (transaction {xid}, committed {at}) is not on the copy"
        if found is None:
            raise Lost(
                f"{beat}: either the copy is not of a snapshot made after prepare, or its commit timestamps are lost, "
                "because it ran once with track_commit_timestamp off"
            )
        if found != at:
            raise Void(f"{beat}, which committed that xid at {found}: the copy is of another snapshot")


def beat(source: Server, database: str) -> int:
    """Commit a heartbeat on the source, durably; returns its xid (32 bits)."""
    with source.translated(database):
        db = source.db(database)
        db.execute("SET synchronous_commit = on")
        row = db.execute(BEAT_SQL).fetchone()
    if row is None:
        raise Refused(
            f"The heartbeat's row is gone from the database {database} on the source.",
            detail="The table encryptdb.heartbeat is empty.",
            hint="Somebody deleted it. Run prepare again, and begin with a new attempt.",
        )
    return int(row[0])


def commit_times(copy: Server, xids: list[int]) -> dict[int, datetime | None]:
    """The copy's commit time of each xid. Raises Lost where the copy keeps none."""
    with copy.translated("postgres"):
        try:
            rows = copy.db("postgres").execute(COMMIT_TIMES_SQL, [[str(x) for x in xids]]).fetchall()
        except errors.ObjectNotInPrerequisiteState:
            raise Lost("the copy runs with track_commit_timestamp off") from None
    return {int(xid): at for xid, at in rows}


def find_bracket(m: Migration, database: Database, confirmed: LSN, candidates: tuple[Candidate, ...]) -> Bracket:
    """The bracket of one database, from reading its slot around the candidates.

    `confirmed` is the slot's confirmed_flush_lsn. Commits one heartbeat on the source. Raises Void.
    """
    before = flushed(m.source)
    heartbeat = beat(m.source, database.name)
    until = flushed(m.source)
    for start in starts(confirmed, candidates, before):
        prefix, ends = _read(m, database, start, heartbeat, until)
        if not prefix.starts_too_late:
            return prefix.bracket(ends)
    raise Void(f"of all that the slot of {database.name} holds, the copy has not one transaction")


def flushed(source: Server) -> LSN:
    """How far the source's WAL is on disk: only so far do walsenders send."""
    with source.translated("postgres"):
        row = source.db("postgres").execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    assert row is not None
    lsn: LSN = row[0]
    return lsn


def starts(confirmed: LSN, candidates: tuple[Candidate, ...], heartbeat_after: LSN) -> list[LSN]:
    """Where to begin reading, nearest first; the last is the slot's own position. Pure.

    A candidate past `heartbeat_after` is left out: reading from there could miss the heartbeat, which ends the reading.
    """
    named = [w.lsn for w in candidates if confirmed < w.lsn <= heartbeat_after]
    nearest = min(named, default=confirmed)
    tried = [max(confirmed, nearest.back(WINDOW_BYTES * times)) for times in (1, 64)]
    return list(dict.fromkeys([*tried, confirmed]))


def _read(m: Migration, database: Database, start: LSN, heartbeat: int, until: LSN) -> tuple[Prefix, dict[LSN, LSN]]:
    prefix = Prefix()
    ends: dict[LSN, LSN] = {}
    batch: list[Begin] = []
    size, complete = 0, False
    slot = m.names.slot(database.oid)
    told = m.clock.monotonic()
    with stream(
        m.source, database.name, slot, m.names.publication, start, clock=m.clock, reporter=m.reporter
    ) as messages:
        for message in messages:
            match message:
                case Begin():
                    batch.append(message)
                    complete = complete or message.xid == heartbeat
                case Commit():
                    ends[message.lsn] = message.end
                case Keepalive():
                    complete = complete or message.sent >= until
                case Other(more):
                    size += more
            if (now := m.clock.monotonic()) - told >= TELL_SECONDS:
                told = now
                m.say(f"reading the slot of {database.name} from {start}: {prefix.included} transactions compared")
            if batch and (message is None or complete or len(batch) >= BATCH_TRANSACTIONS or size >= BATCH_BYTES):
                _classify(m.the_target, batch, prefix, database.name)
                ends = {lsn: end for lsn, end in ends.items() if prefix.last is not None and lsn == prefix.last.lsn}
                batch, size = [], 0
            if prefix.starts_too_late or prefix.missing > LOOK_AHEAD or (complete and prefix.first is not None):
                return prefix, ends
            if complete and not batch:
                raise Void(f"the slot of {database.name} does not deliver the heartbeat committed just now")
    raise AssertionError("a stream ends only by an error")


def _classify(copy: Server, batch: list[Begin], prefix: Prefix, database: str) -> None:
    times = commit_times(copy, [t.xid for t in batch])
    try:
        for transaction in batch:
            prefix.add(transaction, times[transaction.xid] == transaction.at)
    except NotAPrefix as contradiction:
        raise Void(f"in {database}, {contradiction}") from None
