"""status: the state, the next step, how far behind, how healthy."""

import time
from typing import Any

import click

from encryptdb.controller import permissions
from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.cutover import readers, rollback_path
from encryptdb.controller.document import document, lag_bytes, publisher
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.postgres import heartbeat, slots
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.state import Condition, Standing, decide
from encryptdb.stacks.contract.errors import Problem

WATCH_SECONDS = 5.0

WORDS = {
    Condition.SERVING_SIDE_CLOSED: "a database on the side that serves takes no connections: a cutover or rollback was "
    "interrupted in its pause, and the watchdog has not ended it yet",
    Condition.APPLY_STOPPED: "a subscription is enabled, but has no apply worker: the server's log says why",
    Condition.SLOT_LOST: "a replication slot is missing or invalidated: the changes that it kept are gone",
}


def run(m: Migration) -> dict[str, Any]:
    """Reads only. With --watch it repeats every few seconds until it is interrupted."""
    found = look(m)
    while m.options.watch:
        m.clock.sleep(WATCH_SECONDS)
        found = look(m)
    return found


def look(m: Migration) -> dict[str, Any]:
    """One look at both servers. Raises the problem of one that does not answer, with the document."""
    observed = observe(m)
    standing = decide(m.outputs, m.names, observed)
    found = document(m, observed) | health(m, observed, standing)
    m.say(standing.reason or permissions.row(standing).summary)
    m.say(f"next: {found['next']}")
    if found["lag_bytes"] is not None:
        behind = "heartbeat {} s old on the target" if observed.serving == "source" else "{} s behind on the source"
        m.say(f"{found['lag_bytes']:,} bytes behind, {behind.format(found['lag_seconds'])}")
    for warning in found["warnings"]:
        m.say(warning)
    if (problem := observed.target_problem or observed.source_problem) is not None:
        problem.document = found
        raise problem
    return found


def health(m: Migration, observed: Observed, standing: Standing) -> dict[str, Any]:
    """Lag and slots of the direction that runs, what is wrong, and how the rollback path stands."""
    warnings: list[str] = []
    listed: dict[str, Any] = {}
    for problem in (observed.source_problem, observed.target_problem, observed.aws_problem):
        if problem is not None:
            warnings.append(f"{problem.message} {problem.detail or ''}")
    behind: list[int] = []
    serving, slot_of = publisher(m, observed)
    for database in observed.migrated if serving is not None else ():
        assert serving is not None
        slot = serving.slots.get(slot_of(database.oid))
        if slot is None:
            continue
        listed[slot.name] = {
            "active": slot.active,
            "confirmed_flush_lsn": str(slot.confirmed_flush_lsn),
            "wal_status": slot.wal_status,
            "safe_wal_bytes": slot.safe_wal_bytes,
        }
        if (lag := lag_bytes(m, observed, database.oid)) is not None:
            behind.append(lag)
        if slot.wal_status in ("unreserved", "lost"):
            warnings.append(
                f"slot {slot.name} is {slot.wal_status}: the {observed.serving} has dropped WAL that it needs"
            )
    prepared = observed.records.prepared is not None and observed.records.open is None
    if prepared and observed.source is not None and not observed.source.logical:
        warnings.append("logical replication was switched off on the source since prepare: see preflight")
    warnings += [WORDS[c] for c in sorted(standing.conditions) if c in WORDS]
    if observed.records.open:
        # The side that was left is the source's, and after a rollback the target's.
        left = m.source if observed.serving == "target" else m.target
        if left is not None and left.host:
            warnings += _lingering(m, left, observed)
    back = rollback_path.look(m, observed, standing.closes)
    warnings += [f"rollback would be refused: {words}" for words in back.lossy]
    return {
        "lag_bytes": max(behind) if behind and observed.target is not None else None,
        "lag_seconds": _heartbeat_age(m, observed)
        if observed.serving == "source"
        else _replay_seconds(m, list(listed)),
        "slots": listed,
        "rollback_path": back.as_json(),
        "warnings": warnings,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _lingering(m: Migration, left: Server, observed: Observed) -> list[str]:
    try:
        return readers.lingering(m, left, [d.oid for d in observed.migrated])
    except Problem as problem:
        return [f"the readers of the {left.side} are not known: {problem.message} {problem.detail or ''}"]


def _replay_seconds(m: Migration, names: list[str]) -> float | None:
    """How long ago the target committed what the source applied last; 0 where it has applied all, None where nobody
    follows. The target's own measure: heartbeats beat on the source's side of the cutover only."""
    if m.target is None or not names:
        return None
    seconds = slots.replay_seconds(m.target, names)
    return round(seconds, 1) if seconds is not None else None


def _heartbeat_age(m: Migration, observed: Observed) -> float | None:
    if m.target is None or observed.target is None or observed.records.caught_up is None:
        return None
    ages: list[float] = []
    for database in observed.migrated:
        if database.name in observed.target.objects and observed.target.objects[database.name].heartbeat:
            age = heartbeat.age(m.target, database.name)
            if age is not None:
                ages.append(round(age, 1))
    return max(ages) if ages else None


command = stack_command(run, click.Option(["--watch"], is_flag=True, help="Repeat until interrupted."))
