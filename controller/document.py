"""What `--json` of every command holds. Pure."""

from collections.abc import Callable
from typing import Any

from encryptdb.controller import permissions
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import line
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import ObservedServer
from encryptdb.controller.record_values import as_json
from encryptdb.controller.state import Standing, decide

VERSION = 1
"""Of the document. A key that goes or changes its meaning makes it one higher."""


def standing(m: Migration, observed: Observed) -> Standing:
    """The state that was observed."""
    return decide(m.outputs, m.names, observed)


def document(m: Migration, observed: Observed, **more: Any) -> dict[str, Any]:
    """The state, the next command line, the databases, and, once known, the exact LSN and the last comparison."""
    found = standing(m, observed)
    kept = observed.records
    shown: dict[str, Any] = {
        "version": VERSION,
        "stack": m.outputs.stack,
        "attempt": m.outputs.attempt,
        "state": found.state,
        "serves": found.serves,
        "conditions": sorted(found.conditions),
        "next": line(permissions.row(found).next, m.outputs),
        "databases": {d.name: {"oid": d.oid, "lag_bytes": lag_bytes(m, observed, d.oid)} for d in observed.migrated},
    }
    if found.reason is not None:
        shown["reason"] = found.reason
    if kept.exact_lsn is not None:
        exact = as_json(kept.exact_lsn)
        shown["lsn"] = {key: exact[key] for key in ("value", "candidates", "proof")}
    if kept.verify is not None:
        verified = as_json(kept.verify)
        shown["verified"] = {key: verified[key] for key in ("equal", "tables", "rows", "at")}
    return shown | more


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
