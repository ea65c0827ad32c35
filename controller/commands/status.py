"""status: the state, the next step, how far behind, how healthy."""

import time
from datetime import datetime
from typing import Any

import click

from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.commands.rollback import window_length
from encryptdb.controller.cutover import readers, rollback_path
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.runner import next_step
from encryptdb.controller.state import document, lag_bytes, publisher
from encryptdb.stacks.contract.errors import Problem

WATCH_SECONDS = 5.0


def run(m: Migration) -> dict[str, Any]:
    """Reads only. With --watch it repeats every few seconds until it is interrupted."""
    found = look(m)
    while m.options.watch:
        m.clock.sleep(WATCH_SECONDS)
        found = look(m)
    return found


def look(m: Migration) -> dict[str, Any]:
    """One look at both servers."""
    observed = observe(m, with_parameter=True)
    following = next_step(m, observed)
    found = document(m, observed, following.name if following else None) | health(m, observed)
    m.say(f"state {found['state'] or 'not prepared'}; next: {following.summary if following else 'nothing'}")
    if found["lag_bytes"] is not None:
        behind = "heartbeat {} s old on the target" if observed.serving == "source" else "{} s behind on the source"
        m.say(f"{found['lag_bytes']:,} bytes behind, {behind.format(found['lag_seconds'])}")
    for warning in found["warnings"]:
        m.say(warning)
    return found


def health(m: Migration, observed: Observed) -> dict[str, Any]:
    """Lag and slots of the direction that runs, what is wrong, and how the rollback path stands."""
    warnings: list[str] = []
    slots: dict[str, Any] = {}
    if observed.source_problem is not None:
        warnings.append(f"{observed.source_problem.message} {observed.source_problem.detail or ''}")
    behind: list[int] = []
    serving, slot_of = publisher(m, observed)
    for database in observed.migrated if serving is not None else ():
        assert serving is not None
        slot = serving.slots.get(slot_of(database.oid))
        if slot is None:
            continue
        slots[slot.name] = {
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
    if observed.source is not None and observed.records.open is None:
        if observed.records.prepared and not observed.source.logical:
            warnings.append("logical replication was switched off on the source since prepare: see preflight")
        for database in observed.source.databases:
            if not database.allow_connections:
                warnings.append(f"database {database.name} on the source takes no connections: was a cutover cut off?")
    if observed.records.open:
        # The side that was left is the source's, and after a rollback the target's.
        left = m.source if observed.serving == "target" else m.target
        if left is not None and left.host:
            warnings += _lingering(m, left, observed)
    back = rollback_path.look(m, observed, _closes(m, observed))
    warnings += [f"rollback would be refused: {words}" for words in back.lossy]
    return {
        "lag_bytes": max(behind) if behind and observed.target is not None else None,
        "lag_seconds": _heartbeat_age(m, observed) if observed.serving == "source" else _replay_seconds(m, list(slots)),
        "slots": slots,
        "rollback_path": back.as_json(),
        "warnings": warnings,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _lingering(m: Migration, left: Server, observed: Observed) -> list[str]:
    try:
        return readers.lingering(m, left, [d.oid for d in observed.migrated])
    except Problem as problem:
        return [f"the readers of the {left.side} are not known: {problem.message} {problem.detail or ''}"]


def _closes(m: Migration, observed: Observed) -> datetime | None:
    """When the rollback window closes; None where there is none."""
    opened = observed.records.open
    window = m.outputs.rollback_window
    if observed.serving != "target" or not opened or not opened.rollback_path or window == "none":
        return None
    return opened.at + window_length(window)


def _replay_seconds(m: Migration, slots: list[str]) -> float | None:
    """How long ago the target committed what the source applied last; 0 where it has applied all, None where nobody
    follows. The target's own measure: heartbeats beat on the source's side of the cutover only."""
    if m.target is None or not slots:
        return None
    with m.target.translated("postgres"):
        rows = m.target.db("postgres").execute(
            "SELECT extract(epoch FROM coalesce(a.replay_lag, interval '0'))::float8 FROM pg_replication_slots s "
            "JOIN pg_stat_replication a ON a.pid = s.active_pid WHERE s.slot_name = ANY (%s)",
            [slots],
        ).fetchall()  # fmt: skip
    return round(max(seconds for (seconds,) in rows), 1) if len(rows) == len(slots) else None


def _heartbeat_age(m: Migration, observed: Observed) -> float | None:
    if m.target is None or observed.target is None or observed.records.caught_up is None:
        return None
    ages: list[float] = []
    for database in observed.migrated:
        if database.name in observed.target.objects and observed.target.objects[database.name].heartbeat:
            with m.target.translated(database.name):
                row = m.target.db(database.name).execute(
                    "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM encryptdb.heartbeat"
                ).fetchone()  # fmt: skip
            if row is not None:
                ages.append(round(row[0], 1))
    return max(ages) if ages else None


command = stack_command(run, click.Option(["--watch"], is_flag=True, help="Repeat until interrupted."))
