"""Cutover and rollback from beginning to end: what comes before the pause, the move, and what comes after it."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from controller import control
from controller.cutover import (
    checks,
    epoch,
    finish,
    large_objects,
    logins,
    readers,
    reverse,
    sequences,
    views,
    watchdog,
)
from controller.cutover.move import Moved, Observer, Prepared, follow_again, move
from controller.cutover.opening import Opening, Unknown
from controller.cutover.prediction import predict
from controller.cutover.way import Way
from controller.errors import Failed, Interrupted, Problem
from controller.migration import Migration
from controller.observe import State, observe
from controller.switches import Endpoint, Switch, build
from controller.switches.guard import guarding


def conduct(m: Migration, way: Way, *, way_back: bool, observer: Observer) -> dict[str, Any]:
    """Move, and return the document. The caller holds the lock. Raises Problems that say which side serves."""
    recover(m, way)
    state = observe(m)
    leaving, arriving = (state.source, state.target) if way.name == "cutover" else (state.target, state.source)
    assert leaving is not None and arriving is not None, "both sides were observed"
    counts = checks.check(way, leaving, arriving, way_back=way_back)
    watchdog.install(way.from_)
    watchdog.install(way.to)
    way.warm_up()
    checks.name_long_transactions(way, m.reporter)
    rehearsed = checks.rehearse(way, arriving, max_pause=m.options.max_pause, clock=m.clock)
    readers.check(m, way)
    switches = make_switches(m, way)
    for switch in switches:
        if (told := switch.probe()) is not None:
            m.say(told)
    if tried := logins.probe(way, logins.known(switches)):
        m.say(f"the {way.to.side} accepts the login of {tried} secret{'s' if tried > 1 else ''} that applications use")
    planned = sequences.plan(way)
    if m.options.dry_run:
        foreseen = predict(way, planned, switches, rehearsed, m.clock)
        way.cool_down()
        m.say(f"nothing was changed; a {way.name} now would hold writers for {foreseen['predicted_pause_ms']:.0f} ms")
        return foreseen
    with contextlib.ExitStack() as tidy:
        tidy.callback(way.cool_down)
        refreshed = views.refresh(way, m.reporter)
        finish.carry(way)
        control.record(way.to, large_objects.RECORD, large_objects.written(way.to, way))
        sequences.put(way, planned, sequences.read(way, planned))
        control.record(way.from_, MOVING, {"way": way.name, "by": control.who()})
        # Best effort: what a side that is out of reach now keeps of it, the next run finds by the record.
        tidy.callback(_if_possible, lambda: _take_away(m, way))
        if way_back:
            m.say("making the way back")
            reverse.prepare(way, reporter=m.reporter, clock=m.clock)
        opening = Opening(way, epoch.following(*_records(state)))
        tidy.callback(opening.close)
        prepared = Prepared(planned, counts, opening, switches, way_back)
        with guarding(switches, m.options.max_pause):
            way.limit(m.options.max_pause)
            m.say(f"the pause begins; the {way.from_.side} serves again in {m.options.max_pause:g} s if anything fails")
            moved = _move(m, way, prepared, refreshed, observer, tidy)
    m.say(f"the {way.to.side} is open; writers waited {moved.record['pause_ms']:.0f} ms")
    for view in moved.stale_views:
        m.say(f"to be refreshed on the {way.to.side}, its tables changed meanwhile: the materialized view {view}")
    try:
        return finish.complete(m, way, switches, moved=moved)
    except KeyboardInterrupt:
        raise _interrupted(way) from None
    except finish.Unfinished:
        raise
    except Problem as problem:
        raise finish.Unfinished(way, [problem]) from None


def _interrupted(way: Way) -> Interrupted:
    return Interrupted(
        f"Interrupted after the {way.to.side} was opened: it serves.",
        detail=f"The {way.from_.side} stays closed. Switches may not all be applied.",
        hint=f"Run {way.name} again: it completes what is left.",
    )


def _move(
    m: Migration,
    way: Way,
    prepared: Prepared,
    refreshed: views.Refreshed,
    observer: Observer,
    tidy: contextlib.ExitStack,
) -> Moved:
    """The move; once the other side is open, or may be, nothing that was made for it is taken away."""
    try:
        moved = move(
            way, prepared, max_pause=m.options.max_pause, reporter=m.reporter, clock=m.clock, observer=observer
        )
        # Over the connections that are still there: for new ones the left side is closed.
        return replace(moved, stale_views=views.stale(way, refreshed))
    except KeyboardInterrupt:
        if not prepared.opening.opened:
            raise
        raise _interrupted(way) from None
    except Unknown:
        tidy.pop_all()
        raise
    except Problem as problem:
        if not prepared.opening.opened:
            raise
        raise finish.Unfinished(way, [problem]) from None
    finally:
        if prepared.opening.opened:
            tidy.pop_all()
        prepared.opening.close()
        way.cool_down()


def _if_possible(action: Callable[[], object]) -> None:
    with contextlib.suppress(Problem):
        action()


MOVING = "moving"
"""Record on the side that is being left, from just before the pause until the move has ended, either way."""


def recover(m: Migration, way: Way) -> None:
    """Undo what a run that was killed before OPEN left: its fence, and a direction that was stopped for good."""
    left = watchdog.restore_leftover(way.from_)
    if left:
        m.say(f"an earlier run was cut off: took its fence down from {', '.join(left)}")
    if MOVING in (control.records(way.from_) or {}):
        m.say("an earlier run was cut off: letting the changes follow again")
        _take_away(m, way)


def _take_away(m: Migration, way: Way) -> None:
    """Let the changes follow again, and take away what was made for the move: wholly, or the record stays."""
    follow_again(way)
    reverse.drop(way, reporter=m.reporter, clock=m.clock)
    control.forget(way.from_, MOVING)


def make_switches(m: Migration, way: Way) -> list[Switch]:
    """The stack's switches for this direction. Raises Usage."""
    from_, to = (
        Endpoint(s.host, s.port, readers.side_of(m, s).identifier, m.engine.words.listed_as)
        for s in (way.from_, way.to)
    )
    return build(m.outputs.switches, from_, to, m.aws, tuple(d.name for d in way.databases))


def serving(state: State) -> str:
    """The side that serves, by both sides' records. Raises Failed where that cannot be told."""
    if state.source is None and MOVING in ((state.target.records if state.target else None) or {}):
        # A rollback was cut off. If it opened the source, only the source can say so.
        raise Failed(
            "Which side serves cannot be told while the source does not answer.",
            detail="A rollback was cut off, and the source may have been opened by it.",
            hint="Bring the source back within reach, then run the command again.",
        )
    return epoch.serving(*_records(state))


def _records(state: State) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    return state.source.records if state.source else None, state.target.records if state.target else None
