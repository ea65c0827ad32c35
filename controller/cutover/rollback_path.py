"""Whether the rollback path is open and would lose nothing, cheaply enough for every `status`: `rollback` itself also
compares contents, such as those of large objects."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from encryptdb.controller.cutover import definitions, large_objects
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.stacks.contract.errors import Problem


@dataclass(frozen=True)
class RollbackPath:
    """`open`: nothing found here would refuse a rollback. `until`: when the window closes, ISO 8601.
    `lossy`: what on the target would be lost, as text."""

    open: bool
    until: str | None
    lossy: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"lossy": list(self.lossy)}


CLOSED = RollbackPath(False, None, ())


def look(m: Migration, observed: Observed, closes: datetime | None) -> RollbackPath:
    """Read both sides. `closes` is None if there is no rollback path."""
    if closes is None or observed.target is None:
        return CLOSED
    until = closes.isoformat(timespec="seconds")
    if observed.source is None:
        return RollbackPath(False, until, ())
    found = lossy(m, observed)
    return RollbackPath(not found and observed.at <= closes, until, tuple(found))


def lossy(m: Migration, observed: Observed) -> list[str]:
    """What rollback would lose. A side that cannot be read counts as lossy."""
    assert observed.target is not None
    direction = Direction.rollback(m, observed.migrated)
    moving = {d.oid: d.name for d in direction.databases}
    found = [f"{d.name}: a database created since the snapshot" for d in observed.target.unlisted(moving)]
    try:
        found += definitions.differences(direction)
        recorded = observed.target.records.large_objects if observed.target.records else None
        before = recorded.databases if recorded else {}
        found += [
            f"{name}: a large object was written on the target, or its statistics were reset"
            for name in large_objects.changed(direction.from_, direction, before)
        ]
    except Problem as problem:
        found.append(f"could not read what was created on the target: {problem.detail or problem.message}")
    return found
