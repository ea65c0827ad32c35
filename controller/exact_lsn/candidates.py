"""Candidate end-of-recovery LSNs of the restored copy, and when each source is valid.

None is believed against the proof: a candidate says where to read the slot, and names the value inside the bracket.
"""

from typing import Any

from psycopg import errors

from encryptdb.controller.exact_lsn import server_log
from encryptdb.controller.exact_lsn.server_log import Found, Unavailable
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import Candidate, Validity

CHECKPOINT_SQL = """
-- The redo point of the last checkpoint: right after recovery, that of the end-of-recovery checkpoint.
SELECT redo_lsn, checkpoint_time FROM pg_control_checkpoint()
"""

REPLAY_SQL = """
-- The end of the last replay: NULL after a clean restart, the end of the copy's own WAL after a crash.
SELECT pg_last_wal_replay_lsn()
"""

WALINSPECT = "pg_walinspect"
WALINSPECT_BEFORE_BYTES = 1 << 20
WALINSPECT_RANGE_BYTES = 16 << 20
"""How far before the other candidates the range begins, and its length: the copy holds the answer in memory."""

WALINSPECT_AVAILABLE_SQL = """
-- Whether pg_walinspect (15 and newer) is available, and installed here or installable by us. Asked first, because a
-- failed CREATE EXTENSION would stand in the server's log.
SELECT count(*) > 0,
       coalesce(bool_or(installed_version IS NOT NULL), false)
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser' AND pg_has_role(oid, 'MEMBER'))
  FROM pg_available_extensions WHERE name = 'pg_walinspect'
"""

SHUTDOWN_CHECKPOINTS_SQL = """
-- Shutdown checkpoints, each with the start of the last whole record before it. Crash recovery ends in one
-- (CreateEndOfRecoveryRecord is for promotions only); an OVERWRITE_CONTRECORD before it skips a torn record.
WITH wal AS MATERIALIZED (
    SELECT start_lsn, prev_lsn, resource_manager, record_type
      FROM pg_get_wal_records_info(%(start)s, least(%(end)s, pg_current_wal_flush_lsn() - 1))
)
SELECT s.start_lsn, CASE WHEN p.record_type = 'OVERWRITE_CONTRECORD' THEN p.prev_lsn ELSE s.prev_lsn END
  FROM wal AS s LEFT JOIN wal AS p ON p.start_lsn = s.prev_lsn
 WHERE s.resource_manager = 'XLOG' AND s.record_type = 'CHECKPOINT_SHUTDOWN'
 ORDER BY 1 LIMIT 4
"""

NOT_PROVIDED = (
    errors.FeatureNotSupported,
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedFunction,
)
"""The server does not have the function, or not for our role. Aurora lacks some of PostgreSQL's."""


def collect(m: Migration, databases: tuple[str, ...], since: LSN) -> tuple[list[Candidate], list[Unavailable]]:
    """Read every source of candidates on the copy. Leaves nothing on it.

    `since` is a position that the snapshot holds for certain: the lowest confirmed_flush_lsn of the slots.
    """
    assert m.outputs.target is not None
    found: list[Found] = [
        *server_log.read(m.aws, m.engine.log(m.outputs.target.identifier)),
        seed(m.the_target, m.engine.seed_function, databases),
        checkpoint(m.the_target),
        replay(m.the_target),
    ]
    if m.engine.keeps_wal:
        found += walinspect(m.the_target, since, [c.lsn for c in found if isinstance(c, Candidate)])
    return (
        [c for c in found if isinstance(c, Candidate)],
        [c for c in found if isinstance(c, Unavailable)],
    )


def seed(server: Server, function: str, databases: tuple[str, ...]) -> Found:
    """AWS's function, in the first database that has it. Called, because Aurora's catalog does not list all of its
    functions."""
    name = function.removesuffix("()")
    for database in ("postgres", *databases):
        with server.translated(database):
            try:
                row = server.db(database).execute(f"SELECT {function}::text".encode()).fetchone()
            except (errors.UndefinedFunction, errors.InvalidSchemaName):
                continue
            except errors.Error as error:
                return Unavailable(name, str(error).splitlines()[0])
        if row is None or row[0] is None:
            return Unavailable(name, "it returns NULL")
        return Candidate(name, LSN.parse(row[0]), Validity.ALWAYS, f"called in database {database}")
    return Unavailable(name, "the copy has no such function")


def checkpoint(server: Server) -> Found:
    """pg_control_checkpoint(). After a torn record its redo point lies past the end of recovery."""
    source = "pg_control_checkpoint().redo_lsn"
    row = _row(server, CHECKPOINT_SQL)
    if isinstance(row, str):
        return Unavailable(source, row)
    return Candidate(source, row[0], Validity.UNTIL_CHECKPOINT, f"last checkpoint at {row[1]:%Y-%m-%d %H:%M:%S %Z}")


def replay(server: Server) -> Found:
    """pg_last_wal_replay_lsn()."""
    source = "pg_last_wal_replay_lsn()"
    row = _row(server, REPLAY_SQL)
    if isinstance(row, str):
        return Unavailable(source, row)
    if row[0] is None:
        return Unavailable(source, "NULL: the copy has been restarted after a clean shutdown")
    return Candidate(source, row[0], Validity.UNTIL_RESTART, "end of replay at the copy's last start")


def walinspect(copy: Server, since: LSN, others: list[LSN]) -> list[Found]:
    """The copy's own WAL from `since` on, near the other candidates, by pg_walinspect: it outlives checkpoints and
    restarts of the copy. The extension is created in a transaction that is rolled back."""
    near = min((lsn for lsn in others if lsn > since), default=since)
    start = max(since, near.back(WALINSPECT_BEFORE_BYTES))
    with copy.translated(CONTROL_DATABASE):
        db = copy.db(CONTROL_DATABASE)
        available, permitted = db.execute(WALINSPECT_AVAILABLE_SQL).fetchone() or (False, False)
        if not available:
            return [Unavailable(WALINSPECT, "the extension is not available (PostgreSQL 15 and newer have it)")]
        if not permitted:
            return [Unavailable(WALINSPECT, f"permission denied for role {copy.login.user!r} to create the extension")]
        try:
            with db.transaction(force_rollback=True):
                db.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
                end = start + WALINSPECT_RANGE_BYTES
                rows = db.execute(SHUTDOWN_CHECKPOINTS_SQL, {"start": start, "end": end}).fetchall()
        except errors.Error as error:
            if db.closed:
                raise
            return [Unavailable(WALINSPECT, str(error).splitlines()[0])]
    if not rows:
        return [Unavailable(WALINSPECT, f"no shutdown checkpoint in the WAL from {start} to {end}")]
    return [
        Candidate(
            f"{WALINSPECT}: last record before a shutdown checkpoint, plus one byte",
            # As with "redo done": past the start of that record, and before any other.
            before + 1,
            Validity.FIRST_SHUTDOWN,
            f"the last record before the shutdown checkpoint at {shutdown} begins at {before}",
        )
        for shutdown, before in rows
    ]


def _row(server: Server, query: str) -> tuple[Any, ...] | str:
    """The one row, or the server's error where it does not provide the function."""
    with server.translated("postgres"):
        try:
            row = server.db("postgres").execute(query.encode()).fetchone()
        except NOT_PROVIDED as error:
            return str(error).splitlines()[0]
    assert row is not None
    return row
