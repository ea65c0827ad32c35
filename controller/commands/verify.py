"""verify: compare every row of both sides at the same point, while applications go on writing."""

from datetime import datetime
from typing import Any

from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import Database, ObservedServer
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import as_json
from encryptdb.controller.runner import begin
from encryptdb.controller.verify.apply import Ends
from encryptdb.controller.verify.database import compare_database
from encryptdb.controller.verify.result import Verification
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Problem


class VerifyFailed(Failed):
    """The sides differ. `document` says where."""

    def __init__(self, verification: Verification, found: dict[str, Any], next_attempt: str) -> None:
        shown = "; ".join(verification.differing[:10])
        more = f" and {len(verification.differing) - 10} more" if len(verification.differing) > 10 else ""
        super().__init__(
            f"Source and target differ in {len(verification.differing)} tables or sequences.",
            detail=f"{shown}{more}. --json names the rows by their keys. Applications are not affected.",
            hint="Do not cut over. Find what wrote to the target or changed a definition on one side (the target's log "
            f"and roles), then begin a new attempt: {next_attempt}",
        )
        self.document = found


class VerifyIncomplete(NotYet):
    """Nothing that was compared differs, but not everything could be compared. `document` says what."""

    def __init__(self, verification: Verification, found: dict[str, Any]) -> None:
        left = verification.not_compared
        super().__init__(
            f"{len(left)} of {len(verification.tables)} tables could not be compared; all others are equal.",
            detail="; ".join(f"{t.database}: {t.table}: {t.reason}" for t in left[:10]),
            hint=f"When they are less busy, or when what holds them has ended: {AGAIN}",
        )
        self.document = found


def run(m: Migration) -> dict[str, Any]:
    """Raises VerifyFailed for a difference, VerifyIncomplete if a table could not be compared, NotYet without
    replication."""
    observed = begin(m, "verify").observed
    # Before the first database is read, which may take hours.
    ends = [_ends(m, observed, database) for database in observed.migrated]
    if not ends:
        raise NotYet("There is nothing to compare: no database is being migrated.")
    results = [compare_database(end, m.reporter, m.clock) for end in ends]
    verification = Verification(tuple(results), publisher=ends[0].publisher.side)
    # Whoever sends the changes serves the applications, and the serving side's records decide.
    serving = ends[0].publisher
    summary = verification.summary(by=control.who(), at=_now(serving))
    control.write(serving, summary)
    noted = as_json(summary)
    control.note(serving, "verify", **{k: noted[k] for k in ("equal", "tables", "rows", "point")})
    found = document(m, observed) | verification.as_json()
    if verification.differing:
        raise VerifyFailed(verification, found, m.next_attempt)
    if verification.not_compared:
        raise VerifyIncomplete(verification, found)
    m.say(f"equal: {summary.tables} tables, {summary.rows} rows")
    return found


def _ends(m: Migration, observed: Observed, database: Database) -> Ends:
    """Who sends changes of this database to whom, by the subscription that is enabled. Raises NotYet for neither."""
    target, name, oid = m.the_target, database.name, database.oid
    forward, back = m.names.slot(oid), m.names.back_slot(oid)
    if _follows(observed.target, forward):
        return Ends(name, m.source, target, forward)
    if _follows(observed.source, back):
        return Ends(name, target, m.source, back)
    raise _nothing_runs(m, observed, name)


def _follows(subscriber: ObservedServer | None, subscription: str) -> bool:
    found = subscriber.subscriptions.get(subscription) if subscriber is not None else None
    return found is not None and found.enabled


def _nothing_runs(m: Migration, observed: Observed, database: str) -> Problem:
    if observed.records.open:
        return NotYet(
            f"No replication runs between the sides in database {database!r}.",
            detail="The target is open, and the source does not receive its writes (there is no rollback path): they "
            "differ by design.",
            hint="Verify before the cutover; the cutover itself drains to an end marker in every database.",
        )
    return NotYet(
        f"No replication runs between the sides in database {database!r}.",
        detail="Both sides can only be compared at the same point, to which replication brings them.",
        hint=f"{line(Next.REPLICATE, m.outputs)} && {AGAIN}",
    )


def _now(server: Server) -> datetime:
    now: datetime = server.value("SELECT clock_timestamp()")
    return now


command = stack_command(run)
