"""Cutover and rollback from beginning to end: what comes before the pause, the move, and what comes after it."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from encryptdb.controller.cutover import checks, finish, large_objects, logins, readers, reverse, sequences, views
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Moved, Prepared, follow_again, move
from encryptdb.controller.cutover.opening import Opening, Unknown
from encryptdb.controller.cutover.prediction import predict
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.postgres import control, watchdog
from encryptdb.controller.records import LargeObjects, Moving
from encryptdb.controller.switches import Endpoint, Switch, build
from encryptdb.controller.switches.guard import guarding
from encryptdb.stacks.contract.errors import AGAIN, Interrupted, Problem


def cut_over(m: Migration, observed: Observed) -> None:
    """Move the applications to the target, or complete a cutover that was interrupted after OPEN."""
    direction = Direction.cutover(m, observed.migrated)
    if observed.serving == "target":
        m.say("the target is already open: completing the cutover")
        finish.complete(m, direction, make_switches(m, direction), moved=None)
    else:
        conduct(m, direction, rollback_path=m.outputs.rollback_window != "none")


def dry_run(m: Migration, observed: Observed) -> dict[str, Any]:
    """All checks and probes of a cutover; its document predicts the pause."""
    return conduct(m, Direction.cutover(m, observed.migrated), rollback_path=m.outputs.rollback_window != "none")


def roll_back(m: Migration, observed: Observed) -> None:
    """Move the applications back to the source, or complete a rollback that was interrupted after OPEN. A cutover that
    was interrupted after OPEN is completed first."""
    direction = Direction.rollback(m, observed.migrated)
    if observed.serving == "source":
        finish.complete(m, direction, make_switches(m, direction), moved=None)
        return
    if observed.records.cutover is None:
        forward = Direction.cutover(m, observed.migrated)
        finish.complete(m, forward, make_switches(m, forward), moved=None)
    conduct(m, direction, rollback_path=True)


def conduct(m: Migration, direction: Direction, *, rollback_path: bool) -> dict[str, Any]:
    """Move, and return the document. The caller holds the lock. Raises Problems that say which side serves."""
    recover(m, direction)
    observed = observe(m, need=("source", "target"))
    leaving, arriving = (
        (observed.source, observed.target) if direction.name == "cutover" else (observed.target, observed.source)
    )
    assert leaving is not None and arriving is not None, "both sides were observed"
    counts = checks.check(direction, leaving, arriving, rollback_path=rollback_path)
    control.install(direction.from_)
    control.install(direction.to)
    direction.warm_up()
    checks.name_long_transactions(direction, m.reporter)
    rehearsed = checks.rehearse(direction, arriving, max_pause=m.options.max_pause, clock=m.clock)
    readers.check(m, direction)
    switches = make_switches(m, direction)
    for switch in switches:
        if (told := switch.probe()) is not None:
            m.say(told)
    if tried := logins.probe(direction, logins.known(switches)):
        m.say(
            f"the {direction.to.side} accepts the login of {tried} secret{'s' if tried > 1 else ''} that"
            " applications use"
        )
    planned = sequences.plan(direction)
    if m.options.dry_run:
        foreseen = predict(direction, planned, switches, rehearsed, m.clock)
        direction.cool_down()
        m.say(
            f"nothing was changed; a {direction.name} now would hold writers for"
            f" {foreseen['predicted_pause_ms']:.0f} ms"
        )
        return foreseen
    with contextlib.ExitStack() as tidy:
        tidy.callback(direction.cool_down)
        refreshed = views.refresh(direction, m.reporter)
        finish.carry(direction)
        control.write(direction.to, LargeObjects(large_objects.written(direction.to, direction)))
        sequences.put(direction, planned, sequences.read(direction, planned))
        control.write(direction.from_, Moving(direction.name, control.who()))
        # Best effort: the record tells the next run what a side that is unreachable now still has.
        tidy.callback(_if_possible, lambda: _take_away(m, direction))
        if rollback_path:
            m.say("making the rollback path")
            reverse.prepare(direction, reporter=m.reporter, clock=m.clock)
        opening = Opening(direction, observed.next_epoch)
        tidy.callback(opening.close)
        prepared = Prepared(planned, counts, opening, switches, rollback_path)
        with guarding(switches, m.options.max_pause):
            direction.limit(m.options.max_pause)
            m.say(
                f"the pause begins; the {direction.from_.side} serves again in {m.options.max_pause:g} s if anything"
                " fails"
            )
            moved = _move(m, direction, prepared, refreshed, tidy)
    m.say(f"the {direction.to.side} is open; writers waited {moved.pause_ms:.0f} ms")
    for view in moved.stale_views:
        m.say(f"materialized view {view} on the {direction.to.side} is stale: its tables changed after its refresh")
    try:
        return finish.complete(m, direction, switches, moved=moved)
    except KeyboardInterrupt:
        raise _interrupted(direction) from None
    except finish.Unfinished:
        raise
    except Problem as problem:
        raise finish.Unfinished(direction, [problem]) from None


def _interrupted(direction: Direction) -> Interrupted:
    return Interrupted(
        f"Interrupted after the {direction.to.side} was opened: it serves.",
        detail=f"The {direction.from_.side} stays closed. Some switches may not have been applied.",
        hint=AGAIN,
    )


def _move(
    m: Migration,
    direction: Direction,
    prepared: Prepared,
    refreshed: views.Refreshed,
    tidy: contextlib.ExitStack,
) -> Moved:
    """The move; once the other side is open, or may be, nothing that was made for it is dropped."""
    try:
        moved = move(
            direction, prepared, max_pause=m.options.max_pause, reporter=m.reporter, clock=m.clock, observer=m.observer
        )
        # Over the connections that are still there: for new ones the left side is closed.
        return replace(moved, stale_views=views.stale(direction, refreshed))
    except KeyboardInterrupt:
        if not prepared.opening.opened:
            raise
        raise _interrupted(direction) from None
    except Unknown:
        tidy.pop_all()
        raise
    except Problem as problem:
        if not prepared.opening.opened:
            raise
        raise finish.Unfinished(direction, [problem]) from None
    finally:
        if prepared.opening.opened:
            tidy.pop_all()
        prepared.opening.close()
        direction.cool_down()


def _if_possible(action: Callable[[], object]) -> None:
    with contextlib.suppress(Problem):
        action()


def recover(m: Migration, direction: Direction) -> None:
    """Undo what a run killed before OPEN left: its fence, and disabled forward subscriptions."""
    left = watchdog.restore_leftover(direction.from_)
    if left:
        m.say(f"an earlier run was interrupted: took its fence down from {', '.join(left)}")
    found = control.records(direction.from_)
    if found and found.moving:
        m.say("an earlier run was interrupted: resuming replication")
        _take_away(m, direction)


def _take_away(m: Migration, direction: Direction) -> None:
    """Resume replication and drop what was made for the move. The record goes last."""
    follow_again(direction)
    reverse.drop(direction, reporter=m.reporter, clock=m.clock)
    control.forget(direction.from_, Moving)


def make_switches(m: Migration, direction: Direction) -> list[Switch]:
    """The stack's switches for this direction. Raises Usage."""
    from_, to = (
        Endpoint(s.host, s.port, readers.side_of(m, s).identifier, m.engine.words.listed_as)
        for s in (direction.from_, direction.to)
    )
    return build(m.outputs.switches, from_, to, m.aws, tuple(d.name for d in direction.databases))
