"""Cutover and rollback from beginning to end: what comes before the pause, the move, and what comes after it."""

import contextlib
from typing import Any

from controller.cutover import checks, epoch, finish, reverse, sequences, watchdog
from controller.cutover.move import Observer, Prepared, move
from controller.cutover.opening import Opening
from controller.cutover.way import Way
from controller.errors import Interrupted
from controller.migration import Migration
from controller.observe import State, observe
from controller.switches import Endpoint, Switch, build
from controller.switches.guard import guarding


def conduct(m: Migration, way: Way, *, way_back: bool, observer: Observer) -> dict[str, Any]:
    """Move, and return the document. The caller holds the lock. Raises Problems that say which side serves."""
    left = watchdog.restore_leftover(way.from_)
    if left:
        m.say(f"an earlier run was cut off: took its fence down from {', '.join(left)}")
    state = observe(m)
    leaving, arriving = (state.source, state.target) if way.name == "cutover" else (state.target, state.source)
    assert leaving is not None and arriving is not None, "both sides were observed"
    checks.check(way, leaving, arriving, way_back=way_back)
    watchdog.install(way.from_)
    watchdog.install(way.to)
    way.warm_up()
    checks.name_long_transactions(way, m.reporter)
    rehearsed = checks.rehearse(way, max_pause=m.options.max_pause, clock=m.clock)
    switches = make_switches(m, way)
    for switch in switches:
        switch.probe()
    planned = sequences.plan(way)
    if m.options.dry_run:
        return _predict(m, way, switches, rehearsed)
    with contextlib.ExitStack() as made:
        made.callback(way.cool_down)
        finish.carry(way)
        sequences.copy(way, planned)
        if way_back:
            made.callback(reverse.drop, way, reporter=m.reporter, clock=m.clock)
            m.say("making the way back")
            reverse.prepare(way, reporter=m.reporter, clock=m.clock)
        opening = Opening(way, epoch.following(*_records(state)))
        made.callback(opening.close)
        with guarding(switches, m.options.max_pause):
            way.limit(m.options.max_pause)
            # From here on the move itself undoes what it finds, and what was made for it.
            made.pop_all()
            m.say(f"the pause begins; the {way.from_.side} serves again in {m.options.max_pause:g} s if anything fails")
            try:
                moved = move(
                    way,
                    Prepared(planned, opening, switches, way_back),
                    max_pause=m.options.max_pause,
                    reporter=m.reporter,
                    clock=m.clock,
                    observer=observer,
                )
            except KeyboardInterrupt:
                raise Interrupted(
                    f"Interrupted after the {way.to.side} was opened: it serves.",
                    detail=f"The {way.from_.side} stays closed. Switches may not all be applied.",
                    hint=f"Run {way.name} again: it completes what is left.",
                ) from None
            finally:
                opening.close()
                way.cool_down()
    m.say(f"the {way.to.side} is open; writers waited {moved.record['pause_ms']:.0f} ms")
    return finish.complete(way, switches, moved=moved, reporter=m.reporter, clock=m.clock)


def make_switches(m: Migration, way: Way) -> list[Switch]:
    """The stack's switches for this direction. Raises Usage."""
    from_, to = (Endpoint(s.host, s.port) for s in (way.from_, way.to))
    return build(m.outputs.switches, from_, to, m.aws)


def serving(state: State) -> str:
    """The side that serves, by both sides' records."""
    return epoch.serving(*_records(state))


def _records(state: State) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    return state.source.records if state.source else None, state.target.records if state.target else None


def _predict(m: Migration, way: Way, switches: list[Switch], rehearsed: dict[str, float]) -> dict[str, Any]:
    """Time what can be timed without changing anything. The pause is these, a fence, and some round trips."""
    began = m.clock.monotonic()
    sequences.plan(way)
    steps = rehearsed | {"sequences": round(1000 * (m.clock.monotonic() - began) / 2, 1)}
    began = m.clock.monotonic()
    for _ in range(ROUND_TRIPS):
        way.from_.db().execute("SELECT")
    steps["other"] = round(1000 * (m.clock.monotonic() - began) + FENCE_MS, 1)
    way.cool_down()
    predicted = round(sum(steps.values()), 1)
    m.say(f"nothing was changed; a {way.name} now would hold writers for about {predicted:.0f} ms")
    return {
        "dry_run": True,
        "predicted_pause_ms": predicted,
        "steps_ms": steps,
        "switches": [s.name for s in switches],
    }


ROUND_TRIPS = 25
"""Round trips in the pause, counted for one database."""

FENCE_MS = 25.0
"""Milliseconds until a server under load is empty (19 to 27 were measured on two cores)."""
