"""Where a migration stands, decided from what was observed. Pure."""

from collections.abc import Callable
from typing import Any, Literal

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, ObservedServer
from encryptdb.controller.record_values import as_json

State = Literal["prepared", "restored", "replicating", "caught-up", "open", "rolled-back", "retired", "abandoned"]


def state(m: Migration, observed: Observed) -> State | None:
    """The state; None before `prepare` has finished for the first time."""
    source, target = observed.source, observed.target
    if target is not None and target.records is None and (source is None or source.records is None):
        # A target is only ever made after prepare, so its control database was there and was taken down.
        return "retired"
    if target and target.records and target.records.abandoned and (source is None or source.records is None):
        return "abandoned"
    records = observed.records
    if records.open is not None:
        return "rolled-back" if records.open.side == "source" else "open"
    if records.prepared is None:
        return None
    if target is None:
        return "prepared"
    forward = [target.subscriptions.get(m.names.slot(d.oid)) for d in observed.migrated]
    if not forward or not all(s is not None and s.enabled for s in forward):
        return "restored"
    return "caught-up" if records.caught_up else "replicating"


def publisher(m: Migration, observed: Observed) -> tuple[ObservedServer | None, Callable[[int], str]]:
    """The side that serves, and what the slots are called through which the other one follows it."""
    if observed.serving == "target":
        return observed.target, m.names.back_slot
    return observed.source, m.names.slot


def lag_bytes(m: Migration, observed: Observed, oid: int) -> int | None:
    """WAL between what the following side has confirmed and the serving side's end, for one database; None where
    unknown, or where nobody follows."""
    serving, slot_of = publisher(m, observed)
    if serving is None or serving.current_lsn is None:
        return None
    if (slot := serving.slots.get(slot_of(oid))) is None or slot.confirmed_flush_lsn is None:
        return None
    return max(0, serving.current_lsn - slot.confirmed_flush_lsn)


def document(m: Migration, observed: Observed, step: str | None) -> dict[str, Any]:
    """What `--json` of every command holds."""
    records = observed.records
    found: dict[str, Any] = {
        "stack": m.outputs.stack,
        "attempt": m.outputs.attempt,
        "state": state(m, observed),
        "step": step,
        "databases": {d.name: {"oid": d.oid, "lag_bytes": lag_bytes(m, observed, d.oid)} for d in observed.migrated},
    }
    if records.exact_lsn is not None:
        found["lsn"] = as_json(records.exact_lsn)
    if records.verify is not None:
        verified = as_json(records.verify)
        found["verified"] = {key: verified[key] for key in ("equal", "tables", "rows", "at")}
    return found
