"""Whether the way back is open and would lose nothing, as far as that shows without comparing contents: cheap enough to
be asked by every `status`. `rollback` itself looks more closely, at the contents of large objects for one.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from controller.cutover import definitions, large_objects
from controller.cutover.way import Way
from controller.errors import Problem
from controller.migration import Migration
from controller.observe import State, to_migrate


@dataclass(frozen=True)
class WayBack:
    """`open`: rollback would not be refused for what is known here. `until`: when the window closes, ISO 8601.
    `lossy`: what on the target would be lost, in words."""

    open: bool
    until: str | None
    lossy: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"lossy": list(self.lossy)}


CLOSED = WayBack(False, None, ())


def look(m: Migration, state: State, closes: datetime | None) -> WayBack:
    """Read both sides. `closes` is None where there is no way back: nothing was cut over, or it was made without."""
    if closes is None or state.target is None:
        return CLOSED
    until = closes.isoformat(timespec="seconds")
    if state.source is None:
        return WayBack(False, until, ())
    found = lossy(m, state)
    return WayBack(not found and state.at <= closes, until, tuple(found))


def lossy(m: Migration, state: State) -> list[str]:
    """What rollback would lose. A side that cannot be read counts as lossy: nothing is known of it."""
    assert state.target is not None
    way = Way.rollback(m, state.migrated)
    moving = {d.oid for d in way.databases}
    found = [f"{d.name}: a database made since the snapshot" for d in to_migrate(state.target) if d.oid not in moving]
    try:
        found += definitions.differences(way)
        before = (state.target.records or {}).get(large_objects.RECORD, {})
        found += [
            f"{name}: a large object was written on the target, or its statistics were reset"
            for name in large_objects.changed(way.from_, way, before)
        ]
    except Problem as problem:
        found.append(f"it cannot be told what was made on the target: {problem.detail or problem.message}")
    return found
