"""pg_walinspect as a candidate: the copy's own WAL still shows where the source's ended, as long as it is kept.

Recovery ends in a shutdown checkpoint (CreateEndOfRecoveryRecord is only for promotions; a crash recovery writes
CHECKPOINT_SHUTDOWN). The record before it is the last one that was replayed, or the OVERWRITE_CONTRECORD that skips a
torn one. A restart of the source before the snapshot, or of the copy since, leaves such a checkpoint too: so what it
says is a hint. It outlives later checkpoints of the copy, which pg_control_checkpoint() does not.
"""

from psycopg import errors

from encryptdb.controller.exact_lsn.evidence import Candidate, Silence, Trust
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Server

NAME = "pg_walinspect"
BEFORE_BYTES = 1 << 20
RANGE_BYTES = 16 << 20
"""How far before the other candidates the reading begins, and how much WAL is read: its answer is held on the copy."""

THERE_SQL = """
-- Is pg_walinspect at hand (it came with 15); is it installed here, or may we install it: asked, so that a refusal does
-- not stand in the server's log as an error.
SELECT count(*) > 0,
       coalesce(bool_or(installed_version IS NOT NULL), false)
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser' AND pg_has_role(oid, 'MEMBER'))
  FROM pg_available_extensions WHERE name = 'pg_walinspect'
"""

CHECKPOINTS_SQL = """
-- Shutdown checkpoints, each with the start of the last whole record before it.
WITH wal AS MATERIALIZED (
    SELECT start_lsn, prev_lsn, resource_manager, record_type
      FROM pg_get_wal_records_info(%(start)s, least(%(end)s, pg_current_wal_flush_lsn() - 1))
)
SELECT s.start_lsn, CASE WHEN p.record_type = 'OVERWRITE_CONTRECORD' THEN p.prev_lsn ELSE s.prev_lsn END
  FROM wal AS s LEFT JOIN wal AS p ON p.start_lsn = s.prev_lsn
 WHERE s.resource_manager = 'XLOG' AND s.record_type = 'CHECKPOINT_SHUTDOWN'
 ORDER BY 1 LIMIT 4
"""


def inspect(copy: Server, since: LSN, others: tuple[Candidate, ...]) -> list[Candidate | Silence]:
    """What the copy's WAL from `since` on, around the other candidates, says. Leaves nothing on the copy: where the
    extension is not there it is made in a transaction that is rolled back."""
    near = min((w.lsn for w in others if w.lsn > since), default=since)
    start = max(since, near.back(BEFORE_BYTES))
    with copy.translated(CONTROL_DATABASE):
        db = copy.db(CONTROL_DATABASE)
        there, may = db.execute(THERE_SQL).fetchone() or (False, False)
        if not there:
            return [Silence(NAME, "it is not there (PostgreSQL 15 and newer have it)")]
        if not may:
            return [Silence(NAME, f"the role {copy.login.user!r} may not create the extension")]
        try:
            with db.transaction(force_rollback=True):
                db.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
                found = db.execute(CHECKPOINTS_SQL, {"start": start, "end": start + RANGE_BYTES}).fetchall()
        except errors.Error as error:
            if db.closed:
                raise
            return [Silence(NAME, str(error).splitlines()[0])]
    if not found:
        return [Silence(NAME, f"no shutdown checkpoint is in the WAL from {start} on, as far as it was read")]
    return [_candidate(checkpoint, before) for checkpoint, before in found]


def _candidate(checkpoint: LSN, before: LSN) -> Candidate:
    # As with "redo done": past the start of that record, and before any other.
    says = f"the last record before the shutdown checkpoint at {checkpoint} begins at {before}"
    return Candidate(f"{NAME}: last record before a shutdown checkpoint, plus one byte", before + 1, Trust.HINT, says)
