"""What comes after OPEN: only forward, each part safe to repeat, so a command that was cut off is completed by itself
run again. The order: applications first, then the side that was left gets its lasting fence, then the way back runs.
"""

from collections.abc import Sequence
from typing import Any

from controller import control
from controller.cutover import epoch, fence, large_objects, lasting, readers, reverse
from controller.cutover.move import Moved, turn
from controller.cutover.opening import OUTDATED
from controller.cutover.way import Way
from controller.errors import Failed, Problem
from controller.migration import Migration
from controller.names import CONTROL_DATABASE
from controller.switches import Settles, Switch
from controller.waiting import Clock, Reporter

NOT_CARRIED = frozenset({epoch.OPEN, lasting.RECORD, large_objects.RECORD, readers.RECORD, "moving", *OUTDATED})
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

    def __init__(self, way: Way, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(
            f"The {way.to.side} is open and serves, but not all is done: {first.message}",
            detail=" ".join(f"{p.message} {p.detail or ''}".strip() for p in problems)
            + f" The {way.from_.side} stays closed to applications.",
            hint=(f"{first.hint} Then run" if first.hint else "Run") + f" {way.name} again: it completes what is left.",
        )


def carry(way: Way) -> None:
    """Copy evidence and journal to the side that will decide: the other one may be deleted some day."""
    for key, value in (control.records(way.from_) or {}).items():
        if key not in NOT_CARRIED:
            control.record(way.to, key, value)
    with way.from_.translated(CONTROL_DATABASE):
        lines = way.from_.db().execute("SELECT at, who, event, detail::text FROM encryptdb.journal").fetchall()
    if lines:
        with way.to.translated(CONTROL_DATABASE):
            way.to.db().execute(CARRY_JOURNAL_SQL, [list(column) for column in zip(*lines, strict=True)])


def complete(m: Migration, way: Way, switches: Sequence[Switch], *, moved: Moved | None) -> dict[str, Any]:
    """Bring the move to its end and return its document. `moved` is None where an earlier run was cut off after OPEN.

    Raises Failed where something is still to be done: running the command again does it.
    """
    records = control.records(way.to) or {}
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
        control.record(way.to, "switched", {"switches": [s.name for s in switches]})
    try:
        leave(way, way_back=bool(opened.get("way_back")), reporter=m.reporter, clock=m.clock)
    except Problem as problem:
        problems = [*problems, problem]
    document = _document(way, opened, moved)
    try:
        document |= readers.confirm(m, way, opened["epoch"])
        for words in readers.lingering(m, way.from_, [d.oid for d in way.databases]):
            m.say(words)
    except Problem as problem:
        problems = [*problems, problem]
    if problems:
        raise Unfinished(way, problems)
    control.record(way.to, way.name, document)
    control.note(way.to, way.name, **document)
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


def leave(way: Way, *, way_back: bool, reporter: Reporter, clock: Clock) -> None:
    """The side that was left: the lasting fence without a gap, the way back enabled, the old direction dropped.

    Where there is no way back its databases take no connections at all, for ever. Safe to repeat.
    """
    done = f"{way.from_.side}_closed"
    if done not in (control.records(way.to) or {}):
        if way_back:
            with way.from_.translated(CONTROL_DATABASE):
                connection = way.from_.db()
                with connection.transaction():
                    lasting.close_within(connection, way.databases, keep=way.keep)
                    fence.down(connection, f"{way.name}: the lasting fence is up")
        control.record(way.to, done, {"how": "no CONNECT" if way_back else "no connections at all"})
    if way_back:
        reverse.enable(way)
    reverse.drop_forward(way, reporter=reporter, clock=clock)
    # The rule of `epoch` does not need it; whoever reads one side only does.
    for key in (epoch.OPEN, "moving", "cutover", "rollback", "rolled_back"):
        control.forget(way.from_, key)


def _document(way: Way, opened: dict[str, Any], moved: Moved | None) -> dict[str, Any]:
    document = {
        "serving": way.to.side,
        "epoch": opened["epoch"],
        "opened_at": opened["at"],
        "end_lsns": opened["end_lsns"],
        "steps_ms": opened["steps_ms"],
        # Where the command was cut off after OPEN, nobody measured when its clients were let go.
        "pause_ms": None,
        "interrupted": moved is None,
        "way_back": bool(opened.get("way_back")),
    }
    if moved is not None:
        document |= {
            "steps_ms": moved.record["steps_ms"],
            "pause_ms": moved.record["pause_ms"],
            "stale_views": list(moved.stale_views),
        }
    return document
