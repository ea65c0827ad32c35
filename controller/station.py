"""Where a migration stands, decided from what was observed. Pure."""

from collections.abc import Callable
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


def publisher(m: Migration, state: State) -> tuple[ServerState | None, Callable[[int], str]]:
    """The side that serves, and what the slots are called through which the other one follows it."""
    if state.serving == "target":
        return state.target, m.names.back_slot
    return state.source, m.names.slot


def lag_bytes(m: Migration, state: State, oid: int) -> int | None:
    """WAL between what the following side has confirmed and the serving side's end, for one database; None where
    unknown, or where nobody follows."""
    serving, slot_of = publisher(m, state)
    if serving is None or serving.current_lsn is None:
        return None
    if (slot := serving.slots.get(slot_of(oid))) is None or slot.confirmed_flush_lsn is None:
        return None
    return max(0, serving.current_lsn - slot.confirmed_flush_lsn)


def document(m: Migration, state: State, step: str | None) -> dict[str, Any]:
    """What `--json` of every command holds."""
    records = state.records
    found: dict[str, Any] = {
        "stack": m.outputs.stack,
        "attempt": m.outputs.attempt,
        "station": station(m, state),
        "step": step,
        "databases": {d.name: {"oid": d.oid, "lag_bytes": lag_bytes(m, state, d.oid)} for d in state.migrated},
    }
    if "exact_lsn" in records:
        exact = records["exact_lsn"]
        found["lsn"] = exact["lsn"] | {"proof": exact["proof"]}
    if "verify" in records:
        found["verified"] = {key: records["verify"].get(key) for key in ("equal", "tables", "rows", "at")}
    return found
