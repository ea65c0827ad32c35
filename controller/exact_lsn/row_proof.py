"""The proof where commit timestamps are lost: by the row versions themselves.

Slower and weaker than commit times (it needs tables with a key, and rows that tell the transactions at the join apart),
so it is asked only where those are gone, and what it finds is used only where a candidate agrees (`decision`).
"""

from datetime import timedelta

import psycopg
from psycopg import errors, sql

from encryptdb.controller.exact_lsn.changes import Changes, Key, Relation, Row, RowReader
from encryptdb.controller.exact_lsn.evidence import Bracket, Candidate
from encryptdb.controller.exact_lsn.messages import Begin, Commit, Keepalive
from encryptdb.controller.exact_lsn.proof import TELL_SECONDS, WINDOW_BYTES, Void, beat, flushed
from encryptdb.controller.exact_lsn.row_history import Seen, Series, extremes, only, places
from encryptdb.controller.exact_lsn.slot_stream import stream
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Database
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import STATEMENT_SECONDS, Db, Server
from encryptdb.controller.record_values import Heartbeat

SERIES_TRANSACTIONS = 2000
KEYS = 10_000
KEYS_OF_EACH = 10
"""How many transactions are told apart at once, and by how many rows: bounds of memory, and of lookups on the copy."""

OUTPUT = {"datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
          "timezone": "UTC", "client_encoding": "UTF8"}  # fmt: skip
"""Settings of both sessions, so that equal values are equal texts."""

HEARTBEAT_SQL = """
-- The heartbeat's row, with the transaction (32 bits) that wrote it.
SELECT xmin::text::bigint, at FROM encryptdb.heartbeat
"""

HEARTBEAT_SECONDS = 120
"""The row's time is read in the statement, a moment before the commit."""


def check_anchor(copy: Server, databases: tuple[Database, ...], heartbeats: dict[str, Heartbeat]) -> None:
    """Raise Void unless, in each database, the row that prepare's heartbeat wrote stands on the copy with its xmin."""
    for database in databases:
        told = heartbeats[database.name]
        xid, at = told.xid, told.at
        with copy.translated(database.name):
            try:
                row = copy.db(database.name).execute(HEARTBEAT_SQL).fetchone()
            except errors.UndefinedTable:
                row = None
        if row is None or row[0] != xid or not timedelta(0) <= at - row[1] <= timedelta(seconds=HEARTBEAT_SECONDS):
            shown = f"it is of transaction {row[0]}, {row[1]}" if row else "there is none"
            raise Void(
                f"the row of prepare's heartbeat in {database.name} (transaction {xid}, {at}) is not on the copy "
                f"either: {shown}"
            )


def find_bracket(m: Migration, database: Database, confirmed: LSN, candidates: tuple[Candidate, ...]) -> Bracket:
    """The bracket of one database, by its rows. Commits one heartbeat on the source. Raises Void.

    The slot is read from shortly before each candidate in turn, and last from its own position, each time to its end.
    """
    before = flushed(m.source)
    heartbeat = beat(m.source, database.name)
    until = flushed(m.source)
    near = [max(confirmed, w.lsn.back(WINDOW_BYTES)) for w in candidates if confirmed < w.lsn <= before]
    whys: list[str] = []
    for start in dict.fromkeys([*near, confirmed]):
        reading = _Reading()
        _read(m, database, start, heartbeat, until, reading)
        seen, unread = _look_up(m.the_target, database.name, reading.series)
        fitting = places(reading.series, seen)
        count, place = len(reading.series.xids), only(fitting)
        if place is not None and 0 < place < count:
            begins = reading.begins
            end = reading.ends[place - 1]
            return Bracket(begins[place - 1].lsn, end, begins[place].lsn, place, count - place)
        whys.append(_why_not(fitting, reading))
        if unread:
            whys[-1] += f" (the role {m.the_target.login.user!r} cannot read {', '.join(unread[:5])} on the copy)"
    raise Void(f"in {database.name}, the rows do not tell where the snapshot ends either: {'; '.join(whys)}")


class _Reading:
    """The transactions of the series, and where their commit records begin and end."""

    def __init__(self) -> None:
        self.series = Series(KEYS, KEYS_OF_EACH)
        self.begins: list[Begin] = []
        self.ends: list[LSN] = []


def _read(m: Migration, database: Database, start: LSN, heartbeat: int, until: LSN, into: _Reading) -> None:
    """Fill the series with the first transactions from `start`, and note what is written again later.

    The reading goes on to the heartbeat, the end, because a row that was overwritten later says nothing by its absence.
    """
    series, slot = into.series, m.names.slot(database.oid)
    told = m.clock.monotonic()
    last = False
    with stream(
        m.source, database.name, slot, m.names.publication, start,
        clock=m.clock, reporter=m.reporter, understand=RowReader().read, **OUTPUT,
    ) as messages:  # fmt: skip
        for message in messages:
            match message:
                case Begin():
                    last = message.xid == heartbeat
                    if len(into.begins) == SERIES_TRANSACTIONS:
                        series.close()
                    if not series.closed:
                        into.begins.append(message)
                        series.begin(message.xid)
                case Commit():
                    if not series.closed:
                        into.ends.append(message.end)
                    if last:
                        return
                case Changes(changes):
                    for change in changes:
                        series.add(change)
                case Keepalive() if message.sent >= until and not last:
                    raise Void(f"the slot of {database.name} does not deliver the heartbeat committed just now")
            if (now := m.clock.monotonic()) - told >= TELL_SECONDS:
                told = now
                m.say(f"reading the rows of {database.name} from {start}, {len(into.begins)} transactions")


def _look_up(copy: Server, database: str, series: Series) -> tuple[dict[Key, Seen | None], list[str]]:
    """What stands on the copy under each key; and the tables that cannot be read whole there, which say nothing."""
    found: dict[Key, Seen | None] = {}
    silent: set[Relation] = set()
    connection = copy.connect(database, statement_seconds=STATEMENT_SECONDS, row_security="off", **OUTPUT)
    try:
        with copy.translated(database):
            for key in series.histories:
                if key.relation not in silent:
                    try:
                        found[key] = _stands(connection, key)
                    except (
                        errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege, UnicodeDecodeError
                    ):  # fmt: skip
                        silent.add(key.relation)
    finally:
        connection.close()
    told = {key: seen for key, seen in found.items() if key.relation not in silent}
    return told, sorted(f"{relation.schema}.{relation.name}" for relation in silent)


def _stands(connection: Db, key: Key) -> Seen | None:
    relation = key.relation
    query = sql.SQL("SELECT xmin::text::bigint, {} FROM ONLY {} WHERE {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c in relation.columns),
        sql.Identifier(relation.schema, relation.name),
        sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(relation.columns[place]), sql.Placeholder())
            for place in relation.key
        ),
    )
    # Given as text without a type, a value takes that of its column.
    cursor: psycopg.Cursor[tuple[object, ...]] = connection.execute(query, key.values)
    row = cursor.fetchone()
    values: Row | None = tuple(row[1:]) if row is not None else None
    return Seen(int(str(row[0])), values) if row is not None and values is not None else None


def _why_not(fitting: int, reading: _Reading) -> str:
    if not fitting:
        return "they contradict each other"
    first, last = extremes(fitting)
    if first == last == 0:
        return f"the copy holds none of the {len(reading.begins)} transactions from {reading.begins[0].lsn} on"
    if first == last:
        return f"the copy holds all of the {len(reading.begins)} transactions up to {reading.begins[-1].lsn}"
    return f"they fit {last - first + 1} places from {reading.begins[max(0, first - 1)].lsn} on equally well"
