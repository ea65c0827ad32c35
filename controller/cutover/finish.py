"""What follows OPEN. Every part is safe to repeat, so running an interrupted command again completes it.

The order: switches, then the lasting fence of the side that was left, then the rollback path.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from encryptdb.controller.cutover import readers, reverse
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Moved, turn
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import connect_privileges, control, fence
from encryptdb.controller.record_values import as_json
from encryptdb.controller.records import CLEARED, Cutover, Open, Records, Rollback, SideClosed, Switched
from encryptdb.controller.switches import Switch
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import AGAIN, Failed, Problem

CARRY_JOURNAL_SQL = """
INSERT INTO encryptdb.journal (at, who, event, detail)
SELECT j.at, j.who, j.event, j.detail::jsonb
  FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[]) j (at, who, event, detail)
 WHERE NOT EXISTS (SELECT FROM encryptdb.journal k WHERE (k.at, k.who, k.event) = (j.at, j.who, j.event))
 ORDER BY j.at
"""


class Unfinished(Failed):
    """The other side is open and serves; running the command again completes the rest."""

    def __init__(self, direction: Direction, problems: Sequence[Problem]) -> None:
        first = problems[0]
        hint = first.hint or ""
        super().__init__(
            f"The {direction.to.side} is open and serves, but the {direction.name} is not complete: {first.message}",
            detail=" ".join(f"{p.message} {p.detail or ''}".strip() for p in problems)
            + f" The {direction.from_.side} stays closed to applications.",
            hint=hint if AGAIN in hint else f"{hint} Then: {AGAIN}" if hint else AGAIN,
        )


def carry(direction: Direction) -> None:
    """Copy evidence and journal to `to`: `from_` may be deleted later."""
    for record in control.records(direction.from_) or ():
        if record.carried:
            control.write(direction.to, record)
    lines = direction.from_.rows(None, "SELECT at, who, event, detail::text FROM encryptdb.journal")
    if lines:
        direction.to.execute(CARRY_JOURNAL_SQL, [list(column) for column in zip(*lines, strict=True)])


def complete(m: Migration, direction: Direction, switches: Sequence[Switch], *, moved: Moved | None) -> dict[str, Any]:
    """Complete the move and return its document. `moved` is None if an earlier run was interrupted after OPEN.

    Raises Unfinished if a part of it failed.
    """
    records = control.records(direction.to) or Records()
    opened = records.open
    assert opened is not None, "only a side that was opened is completed"
    problems: list[Problem]
    if records.switched:
        problems = []
    elif moved is not None:
        problems = moved.switch_problems
    else:
        problems = [p for s in switches if (p := turn(s, m.clock)) is not None]
    problems += settle(switches, m.reporter, m.clock)
    if not problems:
        control.write(direction.to, Switched(tuple(s.name for s in switches)))
    try:
        leave(direction, rollback_path=opened.rollback_path, reporter=m.reporter, clock=m.clock)
    except Problem as problem:
        problems = [*problems, problem]
    result = _result(direction, opened, moved)
    try:
        result = replace(result, endpoints=readers.confirm(m, direction, opened.epoch))
        for words in readers.lingering(m, direction.from_, [d.oid for d in direction.databases]):
            m.say(words)
    except Problem as problem:
        problems = [*problems, problem]
    if problems:
        raise Unfinished(direction, problems)
    control.write(direction.to, result)
    document = as_json(result)
    control.note(direction.to, direction.name, **document)
    return document


def settle(switches: Sequence[Switch], reporter: Reporter, clock: Clock) -> list[Problem]:
    """Wait until each switch's change has taken effect everywhere. Clients are resumed by then."""
    problems = []
    for switch in switches:
        try:
            switch.settle(reporter, clock)
        except Problem as problem:
            problems.append(problem)
    return problems


def leave(direction: Direction, *, rollback_path: bool, reporter: Reporter, clock: Clock) -> None:
    """Put the lasting fence on `from_` without a gap, enable the rollback path, drop the old direction.

    Without a rollback path, the databases of `from_` stay closed to all connections. Safe to repeat.
    """
    records = control.records(direction.to) or Records()
    if records.side_closed is None:
        if rollback_path:
            with direction.from_.transaction() as connection:
                connect_privileges.close_within(connection, direction.databases, keep=direction.keep)
                fence.down(connection, f"{direction.name}: the lasting fence is up")
        control.write(direction.to, SideClosed(direction.from_.side))
    if rollback_path:
        reverse.enable(direction)
    reverse.drop_forward(direction, reporter=reporter, clock=clock)
    # The rule of `epoch` does not need it; whoever reads one side only does.
    control.forget(direction.from_, *CLEARED)


def _result(direction: Direction, opened: Open, moved: Moved | None) -> Cutover | Rollback:
    return (Cutover if direction.name == "cutover" else Rollback)(
        serving=direction.to.side,
        epoch=opened.epoch,
        opened_at=opened.at,
        end_lsns=opened.end_lsns,
        steps_ms=moved.steps_ms if moved else opened.steps_ms,
        # Where the command was cut off after OPEN, nobody measured when its clients were resumed.
        pause_ms=moved.pause_ms if moved else None,
        interrupted=moved is None,
        rollback_path=opened.rollback_path,
        stale_views=moved.stale_views if moved else (),
    )
