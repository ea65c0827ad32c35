"""What comes after OPEN: only forward, each part safe to repeat, so a command that was cut off is completed by itself
run again. The order: applications first, then the side that was left gets its lasting fence, then the rollback
path runs.
"""

from collections.abc import Sequence
from typing import Any

from encryptdb.controller import epoch
from encryptdb.controller.cutover import large_objects, readers, reverse
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Moved, turn
from encryptdb.controller.cutover.opening import OUTDATED
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import connect_privileges, control, fence
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.switches import Settles, Switch
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import Failed, Problem

NOT_CARRIED = frozenset(
    {epoch.OPEN, connect_privileges.RECORD, large_objects.RECORD, readers.RECORD, "moving", *OUTDATED}
)
"""Records that say something about the side they are on."""

CARRY_JOURNAL_SQL = """
INSERT INTO encryptdb.journal (at, who, event, detail)
SELECT j.at, j.who, j.event, j.detail::jsonb
  FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[]) j (at, who, event, detail)
 WHERE NOT EXISTS (SELECT FROM encryptdb.journal k WHERE (k.at, k.who, k.event) = (j.at, j.who, j.event))
 ORDER BY j.at
"""


class Unfinished(Failed):
    """The other side is open and serves; something is still to be done, by running the command again."""

    def __init__(self, direction: Direction, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(
            f"The {direction.to.side} is open and serves, but not all is done: {first.message}",
            detail=" ".join(f"{p.message} {p.detail or ''}".strip() for p in problems)
            + f" The {direction.from_.side} stays closed to applications.",
            hint=(f"{first.hint} Then run" if first.hint else "Run")
            + f" {direction.name} again: it completes what is left.",
        )


def carry(direction: Direction) -> None:
    """Copy evidence and journal to the side that will decide: the other one may be deleted some day."""
    for key, value in (control.records(direction.from_) or {}).items():
        if key not in NOT_CARRIED:
            control.record(direction.to, key, value)
    with direction.from_.translated(CONTROL_DATABASE):
        lines = direction.from_.db().execute("SELECT at, who, event, detail::text FROM encryptdb.journal").fetchall()
    if lines:
        with direction.to.translated(CONTROL_DATABASE):
            direction.to.db().execute(CARRY_JOURNAL_SQL, [list(column) for column in zip(*lines, strict=True)])


def complete(m: Migration, direction: Direction, switches: Sequence[Switch], *, moved: Moved | None) -> dict[str, Any]:
    """Bring the move to its end and return its document. `moved` is None where an earlier run was cut off after OPEN.

    Raises Failed where something is still to be done: running the command again does it.
    """
    records = control.records(direction.to) or {}
    opened = records[epoch.OPEN]
    problems: list[Problem]
    if "switched" in records:
        problems = []
    elif moved is not None:
        problems = moved.switch_problems
    else:
        problems = [p for s in switches if (p := turn(s, m.clock)) is not None]
    problems += settle(switches, m.reporter, m.clock)
    if not problems:
        control.record(direction.to, "switched", {"switches": [s.name for s in switches]})
    try:
        leave(direction, rollback_path=bool(opened.get("rollback_path")), reporter=m.reporter, clock=m.clock)
    except Problem as problem:
        problems = [*problems, problem]
    document = _document(direction, opened, moved)
    try:
        document |= readers.confirm(m, direction, opened["epoch"])
        for words in readers.lingering(m, direction.from_, [d.oid for d in direction.databases]):
            m.say(words)
    except Problem as problem:
        problems = [*problems, problem]
    if problems:
        raise Unfinished(direction, problems)
    control.record(direction.to, direction.name, document)
    control.note(direction.to, direction.name, **document)
    return document


def settle(switches: Sequence[Switch], reporter: Reporter, clock: Clock) -> list[Problem]:
    """Wait for what spreads by itself. Clients have been let go: this is no part of the pause."""
    problems = []
    for switch in switches:
        if isinstance(switch, Settles):
            try:
                switch.settle(reporter, clock)
            except Problem as problem:
                problems.append(problem)
    return problems


def leave(direction: Direction, *, rollback_path: bool, reporter: Reporter, clock: Clock) -> None:
    """The side that was left: the lasting fence without a gap, the rollback path enabled, the old direction dropped.

    Where there is no rollback path its databases take no connections at all, for ever. Safe to repeat.
    """
    done = f"{direction.from_.side}_closed"
    if done not in (control.records(direction.to) or {}):
        if rollback_path:
            with direction.from_.translated(CONTROL_DATABASE):
                connection = direction.from_.db()
                with connection.transaction():
                    connect_privileges.close_within(connection, direction.databases, keep=direction.keep)
                    fence.down(connection, f"{direction.name}: the lasting fence is up")
        control.record(direction.to, done, {"how": "no CONNECT" if rollback_path else "no connections at all"})
    if rollback_path:
        reverse.enable(direction)
    reverse.drop_forward(direction, reporter=reporter, clock=clock)
    # The rule of `epoch` does not need it; whoever reads one side only does.
    for key in (epoch.OPEN, "moving", "cutover", "rollback", "rolled_back"):
        control.forget(direction.from_, key)


def _document(direction: Direction, opened: dict[str, Any], moved: Moved | None) -> dict[str, Any]:
    document = {
        "serving": direction.to.side,
        "epoch": opened["epoch"],
        "opened_at": opened["at"],
        "end_lsns": opened["end_lsns"],
        "steps_ms": opened["steps_ms"],
        # Where the command was cut off after OPEN, nobody measured when its clients were let go.
        "pause_ms": None,
        "interrupted": moved is None,
        "rollback_path": bool(opened.get("rollback_path")),
    }
    if moved is not None:
        document |= {
            "steps_ms": moved.record["steps_ms"],
            "pause_ms": moved.record["pause_ms"],
            "stale_views": list(moved.stale_views),
        }
    return document
