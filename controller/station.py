"""Where a migration stands, decided from what was observed. Pure."""

from typing import Any, Literal

from controller.migration import Migration
from controller.observe import ServerState, State

Station = Literal["prepared", "restored", "replicating", "caught-up", "open", "rolled-back", "retired", "abandoned"]


def station(m: Migration, state: State) -> Station | None:
    """The station; None before `prepare` has finished for the first time."""
    source, target = state.source, state.target
    if target is not None and target.records is None and (source is None or source.records is None):
        # A target is only ever made after prepare, so its control database was there and was taken down.
        return "retired"
    if target is not None and target.records:
        if "retired" in target.records:
            return "retired"
        if "abandoned" in target.records and (source is None or source.records is None):
            return "abandoned"
    records = state.records
    if "rolled_back" in records:
        return "rolled-back"
    if "open" in records:
        return "open"
    if "prepared" not in records:
        return None
    if target is None:
        return "prepared"
    forward = [target.subscriptions.get(m.names.slot(d.oid)) for d in state.migrated]
    if not forward or not all(s is not None and s.enabled for s in forward):
        return "restored"
    return "caught-up" if "caught_up" in records else "replicating"


def lag_bytes(m: Migration, source: ServerState | None, oid: int) -> int | None:
    """WAL between what the target has confirmed and the source's end, for one database; None where unknown."""
    if source is None or (slot := source.slots.get(m.names.slot(oid))) is None or slot.confirmed_flush_lsn is None:
        return None
    return max(0, source.current_lsn - slot.confirmed_flush_lsn)


def document(m: Migration, state: State, step: str | None) -> dict[str, Any]:
    """What `--json` of every command holds."""
    records = state.records
    found: dict[str, Any] = {
        "stack": m.outputs.stack,
        "attempt": m.outputs.attempt,
        "station": station(m, state),
        "step": step,
        "databases": {d.name: {"oid": d.oid, "lag_bytes": lag_bytes(m, state.source, d.oid)} for d in state.migrated},
    }
    if "exact_lsn" in records:
        exact = records["exact_lsn"]
        found["lsn"] = exact["lsn"] | {"proof": exact["proof"]}
    return found
