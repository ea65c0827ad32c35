"""The witnesses of where recovery ended, each with the time and the conditions in which it can be believed."""

from psycopg import errors

from controller import rds
from controller.exact_lsn import wal_inspection
from controller.exact_lsn.evidence import Silence, Trust, Witness
from controller.exact_lsn.log_lines import Line, Means
from controller.exact_lsn.logs import read_first_recovery
from controller.lsn import LSN
from controller.migration import Migration
from controller.server import Server

SEED_FUNCTIONS = ("rds_tools.logical_seed_lsn()", "aurora_volume_logical_start_lsn()")
"""AWS's own functions for this very purpose, of RDS and of Aurora. Elsewhere they do not exist."""

CHECKPOINT_SQL = """
-- The redo point of the last checkpoint: right after recovery, that of the end-of-recovery checkpoint.
SELECT redo_lsn, checkpoint_time FROM pg_control_checkpoint()
"""

REPLAY_SQL = """
-- Where this start's replay ended: the recovery's end until the first restart, NULL or the copy's own WAL after it.
SELECT pg_last_wal_replay_lsn()
"""

Heard = Witness | Silence


def collect(m: Migration, databases: tuple[str, ...], since: LSN) -> tuple[tuple[Witness, ...], tuple[Silence, ...]]:
    """Ask every witness there is, the most trustworthy first. One that cannot be asked is silent, and says why.

    `since` is a position that the snapshot holds for certain: the earliest confirmed_flush_lsn of the slots.
    """
    heard: list[Heard] = [*server_log(m), *(seed(m.the_target, function, databases) for function in SEED_FUNCTIONS)]
    heard += [checkpoint(m.the_target), replay(m.the_target)]
    if m.outputs.engine == "postgres":
        heard += wal_inspection.inspect(m.the_target, since, tuple(w for w in heard if isinstance(w, Witness)))
    return (
        tuple(w for w in heard if isinstance(w, Witness)),
        tuple(w for w in heard if isinstance(w, Silence)),
    )


def server_log(m: Migration) -> list[Heard]:
    """The first recovery in the target's log. Exact by nature, where the log is still there."""
    assert m.outputs.target is not None
    if m.outputs.engine != "postgres":
        return [Silence("server log", "Aurora does not recover from WAL of its own")]
    identifier = m.outputs.target.identifier
    found = rds.find_instance(m.aws, identifier)
    reading = read_first_recovery(m.aws, identifier, found.created if found else None)
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
            heard.append(Witness(f"{name}, plus one byte", line.lsn + 1, Trust.EXACT, says))
        else:
            trust = Trust.EXACT if line.kind.means is Means.NEXT_RECORD else Trust.HINT
            heard.append(Witness(name, line.lsn, trust, says))
    # In the log, "redo done" comes last, but where there is a line that names the end, that is the one people know.
    return sorted(heard, key=lambda h: isinstance(h, Witness) and h.name.endswith("plus one byte"))


def seed(server: Server, function: str, databases: tuple[str, ...]) -> Heard:
    """AWS's function, in whichever database it was created."""
    name = function.removesuffix("()")
    for database in ("postgres", *databases):
        with server.translated(database):
            db = server.db(database)
            if db.execute("SELECT to_regprocedure(%s) IS NULL", [function]).fetchone() == (True,):
                continue
            try:
                row = db.execute(f"SELECT {function}::text").fetchone()
            except errors.Error as error:
                return Silence(name, str(error).splitlines()[0])
        if row is None or row[0] is None:
            return Silence(name, "it returns NULL")
        return Witness(name, LSN.parse(row[0]), Trust.EXACT, f"called in the database {database}")
    return Silence(name, "there is no such function on the copy")


def checkpoint(server: Server) -> Heard:
    """pg_control_checkpoint(): right until the copy's next checkpoint, and past the end after a torn record."""
    name = "pg_control_checkpoint().redo_lsn"
    with server.translated("postgres"):
        try:
            row = server.db("postgres").execute(CHECKPOINT_SQL).fetchone()
        except errors.InsufficientPrivilege as error:
            return Silence(name, str(error).splitlines()[0])
    assert row is not None
    return Witness(name, row[0], Trust.HINT, f"of the copy's last checkpoint, {row[1]:%Y-%m-%d %H:%M:%S %Z}")


def replay(server: Server) -> Heard:
    """pg_last_wal_replay_lsn(): right until the copy's first restart."""
    name = "pg_last_wal_replay_lsn()"
    with server.translated("postgres"):
        row = server.db("postgres").execute(REPLAY_SQL).fetchone()
    if row is None or row[0] is None:
        return Silence(name, "NULL: the copy was restarted since, after a clean shutdown")
    return Witness(name, row[0], Trust.HINT, "of the copy's last start")
