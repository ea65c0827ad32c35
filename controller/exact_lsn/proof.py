"""The proof: which transactions of the slot the copy holds, by their commit timestamps.

A transaction is included iff the copy's pg_xact_commit_timestamp(xid) equals, to the microsecond, the commit time that
the slot gives for that xid. The xid alone proves nothing: the copy assigns the missing xids to transactions of its own
within seconds.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import errors

from encryptdb.controller.exact_lsn.slot_stream import Begin, Commit, Keepalive, Other, stream
from encryptdb.controller.migration import Migration
from encryptdb.controller.observed_server import Database
from encryptdb.controller.postgres import heartbeat
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import Bracket, Heartbeat

WINDOW_BYTES = 1 << 20
"""How far before the candidates the reading begins. While it finds nothing included, it begins 64 times as far before,
then at the slot's own position."""

BATCH_TRANSACTIONS = 512
BATCH_BYTES = 1 << 20
"""The copy is queried after this many transactions or bytes: a large missing transaction is recognised by its BEGIN,
without reading its rows."""

LOOK_AHEAD = 64
"""Missing transactions compared beyond the first: an included one among them contradicts the method."""

PROGRESS_SECONDS = 10.0

COMMIT_TIMESTAMPS_SQL = """
-- The copy's commit timestamps of these xids; NULL where it has none.
SELECT x, pg_xact_commit_timestamp(x::xid) FROM unnest(%s::text[]) AS x
"""


class Unproved(Exception):
    """Why there is no proof."""


@dataclass
class Prefix:
    """Which transactions of a slot, added in commit order, the copy holds: a snapshot holds the first ones. Pure."""

    last: Begin | None = None
    first: Begin | None = None
    included: int = 0
    missing: int = 0

    def add(self, transaction: Begin, included: bool) -> None:
        """Add the next transaction. Raises Unproved for an included one after a missing one."""
        if included and self.first is not None:
            raise Unproved(
                f"the copy lacks transaction {self.first.xid} committed at {self.first.lsn}, but holds "
                f"{transaction.xid} committed later at {transaction.lsn}"
            )
        if included:
            self.last, self.included = transaction, self.included + 1
        else:
            self.first, self.missing = self.first or transaction, self.missing + 1

    @property
    def starts_too_late(self) -> bool:
        """Whether the first transaction added is missing: the last included one lies before it."""
        return self.first is not None and self.last is None

    def bracket(self, ends: dict[LSN, LSN]) -> Bracket:
        """The bracket; `ends` maps the start of the last included commit record to its end."""
        assert self.last is not None and self.first is not None, "both sides of the bracket were read"
        return Bracket(self.last.lsn, ends[self.last.lsn], self.first.lsn, self.included, self.missing)


def check_heartbeats(copy: Server, databases: tuple[Database, ...], heartbeats: dict[str, Heartbeat]) -> None:
    """Raise Unproved unless the copy has the commit timestamp of `prepare`'s heartbeat in each database."""
    for database in databases:
        beat = heartbeats.get(database.name)
        if beat is None:
            raise Unproved(f"prepare recorded no heartbeat for database {database.name}")
        found = commit_timestamps(copy, [beat.xid])[beat.xid]
        if found == beat.at:
            continue
        commit = f"prepare's heartbeat in database {database.name} (transaction {beat.xid}, committed {beat.at})"
        if found is None:
            raise Unproved(
                f"the copy has no commit timestamp for {commit}: either the snapshot is older than prepare, or the "
                "copy was started once with track_commit_timestamp = off, which removes all commit timestamps"
            )
        raise Unproved(f"{commit} is not on the copy, where that xid committed at {found}: it is of another snapshot")


def commit_timestamps(copy: Server, xids: list[int]) -> dict[int, datetime | None]:
    """The copy's commit timestamp of each xid. Raises Unproved if it keeps none."""
    with copy.translated("postgres"):
        try:
            rows = copy.db("postgres").execute(COMMIT_TIMESTAMPS_SQL, [[str(x) for x in xids]]).fetchall()
        except errors.ObjectNotInPrerequisiteState:
            raise Unproved("the copy runs with track_commit_timestamp = off") from None
    return {int(xid): at for xid, at in rows}


def flushed(source: Server) -> LSN:
    """The source's flushed end of WAL: walsenders send no further."""
    lsn: LSN = source.value("SELECT pg_current_wal_flush_lsn()", database="postgres")
    return lsn


def find_bracket(m: Migration, database: Database, confirmed: LSN, near: list[LSN]) -> Bracket:
    """The bracket of one database, from reading its slot around the candidates `near`.

    `confirmed` is the slot's confirmed_flush_lsn. Commits one heartbeat on the source. Raises Unproved.
    """
    before = flushed(m.source)
    # So that even an idle source has a first missing commit.
    beat = heartbeat.beat(m.source, database.name)
    for start in starts(confirmed, near, before):
        prefix, ends = _read(m, database, start, beat.xid, until=beat.lsn)
        if not prefix.starts_too_late:
            return prefix.bracket(ends)
    raise Unproved(f"the copy holds no transaction of the slot of database {database.name}")


def starts(confirmed: LSN, near: list[LSN], heartbeat_after: LSN) -> list[LSN]:
    """Where to begin reading, in the order to try; the last is the slot's own position. Pure.

    Candidates past `heartbeat_after` are left out: from there the reading could miss the heartbeat, which ends it.
    """
    nearest = min((lsn for lsn in near if confirmed < lsn <= heartbeat_after), default=confirmed)
    tried = [max(confirmed, nearest.back(WINDOW_BYTES * times)) for times in (1, 64)]
    return list(dict.fromkeys([*tried, confirmed]))


def _read(m: Migration, database: Database, start: LSN, last: int, until: LSN) -> tuple[Prefix, dict[LSN, LSN]]:
    prefix = Prefix()
    ends: dict[LSN, LSN] = {}
    batch: list[Begin] = []
    size, complete = 0, False
    slot = m.names.slot(database.oid)
    reported = m.clock.monotonic()
    with stream(
        m.source, database.name, slot, m.names.publication, start, clock=m.clock, reporter=m.reporter
    ) as messages:
        for message in messages:
            match message:
                case Begin():
                    batch.append(message)
                    complete = complete or message.xid == last
                case Commit():
                    ends[message.lsn] = message.end
                case Keepalive():
                    complete = complete or message.sent >= until
                case Other(more):
                    size += more
            if (now := m.clock.monotonic()) - reported >= PROGRESS_SECONDS:
                reported = now
                m.say(f"reading slot {slot} from {start}: {prefix.included} transactions compared")
            if batch and (message is None or complete or len(batch) >= BATCH_TRANSACTIONS or size >= BATCH_BYTES):
                _compare(m.the_target, batch, prefix, database.name)
                ends = {lsn: end for lsn, end in ends.items() if prefix.last is not None and lsn == prefix.last.lsn}
                batch, size = [], 0
            if prefix.starts_too_late or prefix.missing > LOOK_AHEAD or (complete and prefix.first is not None):
                return prefix, ends
            if complete and not batch:
                raise Unproved(f"slot {slot} does not deliver the heartbeat committed just now")
    raise AssertionError("a stream ends only by an error")


def _compare(copy: Server, batch: list[Begin], prefix: Prefix, database: str) -> None:
    timestamps = commit_timestamps(copy, [t.xid for t in batch])
    try:
        for transaction in batch:
            prefix.add(transaction, timestamps[transaction.xid] == transaction.at)
    except Unproved as contradiction:
        raise Unproved(f"in database {database}, {contradiction}") from None
