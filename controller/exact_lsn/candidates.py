"""The candidates of where recovery ended, each with the time and the conditions in which it can be believed."""

from typing import Any

from psycopg import errors

from encryptdb.controller.exact_lsn import wal_inspection
from encryptdb.controller.exact_lsn.evidence import Candidate, Silence, Trust
from encryptdb.controller.exact_lsn.log_lines import Line, Means
from encryptdb.controller.exact_lsn.logs import read_first_recovery
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Server

CHECKPOINT_SQL = """
-- The redo point of the last checkpoint: right after recovery, that of the end-of-recovery checkpoint.
SELECT redo_lsn, checkpoint_time FROM pg_control_checkpoint()
"""

REPLAY_SQL = """
-- Where this start's replay ended: the recovery's end until the first restart, NULL or the copy's own WAL after it.
SELECT pg_last_wal_replay_lsn()
"""

Heard = Candidate | Silence

NOT_HERE = (
    errors.FeatureNotSupported,
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedFunction,
)
"""How a server says that it has no such function, or not for us. Aurora lacks some of PostgreSQL's."""


def collect(m: Migration, databases: tuple[str, ...], since: LSN) -> tuple[tuple[Candidate, ...], tuple[Silence, ...]]:
    """Ask every candidate there is, the most trustworthy first. One that cannot be asked is silent, and says why.

    `since` is a position that the snapshot holds for certain: the earliest confirmed_flush_lsn of the slots.
    """
    heard: list[Heard] = [*server_log(m), seed(m.the_target, m.engine.seed_function, databases)]
    heard += [checkpoint(m.the_target), replay(m.the_target)]
    if m.engine.keeps_wal:
        heard += wal_inspection.inspect(m.the_target, since, tuple(w for w in heard if isinstance(w, Candidate)))
    return (
        tuple(w for w in heard if isinstance(w, Candidate)),
        tuple(w for w in heard if isinstance(w, Silence)),
    )


def server_log(m: Migration) -> list[Heard]:
    """The first recovery in the target's log. Exact by nature, where the log is still there."""
    assert m.outputs.target is not None
    reading = read_first_recovery(m.aws, m.engine.log(m.outputs.target.identifier))
    if reading.recovery is None:
        return [Silence("server log", reading.why_not or "it says nothing")]
    if reading.recovery.clean:
        return [Silence("server log", "the first start found a clean shutdown, for which the log names no LSN")]
    return from_log(reading.recovery.lines, reading.where)


def from_log(lines: tuple[Line, ...], where: str) -> list[Heard]:
    """What each line of the recovery testifies. Pure."""
    heard: list[Heard] = []
    for line in lines:
        name = f"server log: {line.kind.name}"
        says = f"{line.text} (in {where})"
        if line.kind.means is Means.PAGE:
            heard.append(Silence(name, f"{says}: {Means.PAGE.value}"))
        elif line.lsn is None:
            heard.append(Silence(name, says))
        elif line.kind.means is Means.LAST_RECORD:
            # The next byte is past the start of that record, and before any other: the comparison is with starts.
            heard.append(Candidate(f"{name}, plus one byte", line.lsn + 1, Trust.EXACT, says))
        else:
            trust = Trust.EXACT if line.kind.means is Means.NEXT_RECORD else Trust.HINT
            heard.append(Candidate(name, line.lsn, trust, says))
    # In the log, "redo done" comes last, but where there is a line that names the end, that is the one people know.
    return sorted(heard, key=lambda h: isinstance(h, Candidate) and h.name.endswith("plus one byte"))


def seed(server: Server, function: str, databases: tuple[str, ...]) -> Heard:
    """AWS's function, in whichever database it was created. It is called, not looked up: the catalog does not list
    all of Aurora's."""
    name = function.removesuffix("()")
    for database in ("postgres", *databases):
        with server.translated(database):
            try:
                row = server.db(database).execute(f"SELECT {function}::text".encode()).fetchone()
            except (errors.UndefinedFunction, errors.InvalidSchemaName):
                continue
            except errors.Error as error:
                return Silence(name, str(error).splitlines()[0])
        if row is None or row[0] is None:
            return Silence(name, "it returns NULL")
        return Candidate(name, LSN.parse(row[0]), Trust.EXACT, f"called in the database {database}")
    return Silence(name, "there is no such function on the copy")


def checkpoint(server: Server) -> Heard:
    """pg_control_checkpoint(): right until the copy's next checkpoint, and past the end after a torn record."""
    name = "pg_control_checkpoint().redo_lsn"
    row = _asked(server, CHECKPOINT_SQL)
    if isinstance(row, str):
        return Silence(name, row)
    return Candidate(name, row[0], Trust.HINT, f"of the copy's last checkpoint, {row[1]:%Y-%m-%d %H:%M:%S %Z}")


def replay(server: Server) -> Heard:
    """pg_last_wal_replay_lsn(): right until the copy's first restart."""
    name = "pg_last_wal_replay_lsn()"
    row = _asked(server, REPLAY_SQL)
    if isinstance(row, str):
        return Silence(name, row)
    if row[0] is None:
        return Silence(name, "NULL: the copy was restarted since, after a clean shutdown")
    return Candidate(name, row[0], Trust.HINT, "of the copy's last start")


def _asked(server: Server, query: str) -> tuple[Any, ...] | str:
    """The one row, or why the server has no answer."""
    with server.translated("postgres"):
        try:
            row = server.db("postgres").execute(query.encode()).fetchone()
        except NOT_HERE as error:
            return str(error).splitlines()[0]
    assert row is not None
    return row
