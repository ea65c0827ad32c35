"""status: the station, the next step, how far behind, how healthy."""

import time
from typing import Any

from controller.migration import Migration
from controller.observe import State, observe
from controller.runner import next_step
from controller.station import document

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
    state = observe(m, with_mark=True)
    following = next_step(m, state)
    found = document(m, state, following.name if following else None) | health(m, state)
    m.say(f"station {found['station'] or 'not prepared'}; next: {following.summary if following else 'nothing'}")
    if found["lag_bytes"] is not None:
        m.say(f"{found['lag_bytes']:,} bytes behind, heartbeat {found['lag_seconds']} s old on the target")
    for warning in found["warnings"]:
        m.say(warning)
    return found


def health(m: Migration, state: State) -> dict[str, Any]:
    """Lag, slots, and what is wrong. `lag_seconds` is the age of the newest heartbeat that the target has."""
    warnings: list[str] = []
    slots: dict[str, Any] = {}
    if state.source_problem is not None:
        warnings.append(f"{state.source_problem.message} {state.source_problem.detail or ''}")
    behind: list[int] = []
    if state.source is not None:
        for database in state.migrated:
            slot = state.source.slots.get(m.names.slot(database.oid))
            if slot is None:
                continue
            slots[slot.name] = {
                "active": slot.active,
                "confirmed_flush_lsn": str(slot.confirmed_flush_lsn),
                "wal_status": slot.wal_status,
                "safe_wal_bytes": slot.safe_wal_bytes,
            }
            if slot.confirmed_flush_lsn is not None:
                behind.append(max(0, state.source.current_lsn - slot.confirmed_flush_lsn))
            if slot.wal_status in ("unreserved", "lost"):
                warnings.append(f"slot {slot.name} is {slot.wal_status}: the source has dropped WAL that it needs")
        if "prepared" in state.records and not state.source.logical and "open" not in state.records:
            warnings.append("logical replication was switched off on the source since prepare: see preflight")
        for database in state.source.databases:
            if not database.allow_connections and "open" not in state.records:
                warnings.append(f"database {database.name} on the source takes no connections: was a cutover cut off?")
    return {
        "lag_bytes": max(behind) if behind and state.target is not None else None,
        "lag_seconds": _heartbeat_age(m, state),
        "slots": slots,
        "warnings": warnings,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _heartbeat_age(m: Migration, state: State) -> float | None:
    if m.target is None or state.target is None or "caught_up" not in state.records:
        return None
    ages: list[float] = []
    for database in state.migrated:
        if database.name in state.target.objects and state.target.objects[database.name].heartbeat:
            with m.target.translated(database.name):
                row = m.target.db(database.name).execute(
                    "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM encryptdb.heartbeat"
                ).fetchone()  # fmt: skip
            if row is not None:
                ages.append(round(row[0], 1))
    return max(ages) if ages else None
