"""The pause: one function of (from, to). Rollback is the same function with the sides exchanged."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from encryptdb.controller.cutover import large_objects, markers, reverse, sequences
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.opening import Opening, Unknown
from encryptdb.controller.cutover.undo import Undo, uninterrupted
from encryptdb.controller.migration import Observer
from encryptdb.controller.postgres import fence, subscriptions, watchdog
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.records import Open
from encryptdb.controller.switches import Switch
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import AGAIN, Problem, Refused

ABORT_MARGIN = 0.2
"""The share of the longest pause, at most a second, reserved for the undo before the watchdog acts."""

PAUSE_SHARE = 0.3
"""The share of the longest pause that poolers have to hold their clients, and the fence to become empty."""

SWITCH_ATTEMPTS = 3
"""How often a switch is tried before its clients are resumed all the same."""


@dataclass
class Stopwatch:
    """Milliseconds per verb, and since the first one that holds a write back."""

    clock: Clock
    observer: Observer
    steps_ms: dict[str, float] = field(default_factory=dict)
    _pause_began: float | None = None

    @contextlib.contextmanager
    def verb(self, name: str) -> Iterator[None]:
        began = self.clock.monotonic()
        if name in ("pause", "fence") and self._pause_began is None:
            self._pause_began = began
        self.observer(name, "begin")
        yield
        self.steps_ms[name] = round(1000 * (self.clock.monotonic() - began), 1)
        self.observer(name, "end")

    def pause_ms(self) -> float:
        """From the first PAUSE, or the fence, to now."""
        return 0.0 if self._pause_began is None else round(1000 * (self.clock.monotonic() - self._pause_began), 1)


@dataclass(frozen=True)
class Prepared:
    """What was made before the pause, so that it costs nothing in it."""

    sequences: sequences.Plan
    large_objects: large_objects.Counts
    opening: Opening
    switches: Sequence[Switch]
    rollback_path: bool


@dataclass(frozen=True)
class Moved:
    """The record of OPEN, times in ms, and the switches that failed (the clients of each were resumed)."""

    opened: Open
    pause_ms: float
    steps_ms: dict[str, float]
    switch_problems: list[Problem]
    stale_views: tuple[str, ...] = ()


def move(
    direction: Direction, prepared: Prepared, *, max_pause: float, reporter: Reporter, clock: Clock, observer: Observer
) -> Moved:
    """Move the applications from `direction.from_` to `direction.to`.

    After any exception before OPEN (Ctrl-C included) `from_` serves, databases and poolers are as they were, and
    replication continues. Raises Unknown, and undoes nothing, if the outcome of OPEN cannot be determined.
    """
    watch = Stopwatch(clock, observer)
    databases, leaving = direction.databases, direction.from_.db()
    deadline = clock.monotonic() + max_pause
    last_moment = deadline - min(1.0, ABORT_MARGIN * max_pause)
    with Undo(direction.from_, clock, deadline) as undo:
        with watch.verb("watchdog"):
            dog = watchdog.start(direction.from_, max_pause, reporter=reporter, clock=clock)
            undo.first("end the watchdog", lambda: dog.end(direction.from_.db()))

        with watch.verb("pause"):
            for switch in prepared.switches:
                undo.first(f"resume the clients of {switch.name}", switch.resume)
                switch.pause(PAUSE_SHARE * max_pause)

        with watch.verb("fence"), direction.from_.translated(CONTROL_DATABASE):
            # Registered first: the answer may be lost although the fence is up.
            undo.first("take the fence down", lambda: take_down(direction))
            fence.up(leaving, databases)
            fence.clear(
                leaving,
                databases,
                spared=direction.from_.pids(),
                slots=direction.forward_slots(),
                seconds=PAUSE_SHARE * max_pause,
                clock=clock,
                side=direction.from_.side,
            )
            fence.refuse_prepared(leaving, databases, direction.from_.side)

        # Only now: an end read before the fence holds is no end.
        with watch.verb("end markers"):
            ends = markers.commit(direction)

        with watch.verb("drain"), ThreadPoolExecutor(1, thread_name_prefix="read") as meanwhile:
            # Nobody changes the left side any more, so what must be read there is read while the changes travel.
            reading = meanwhile.submit(read_the_rest, direction, prepared)
            markers.drain(direction, ends, seconds=last_moment - clock.monotonic(), clock=clock)
            values = reading.result()

        with watch.verb("sequences"):
            sequences.put(direction, prepared.sequences, values)

        with watch.verb("detach"):
            undo.then("resume replication", lambda: follow_again(direction))
            direction.in_each(
                lambda d: subscriptions.disable(direction.to, d.name, direction.forward(d.oid), clock=clock)
            )

        if prepared.rollback_path:
            # After the forward workers are gone: what they wrote must not be sent back.
            with watch.verb("rollback path"):
                reverse.advance(direction)

        with watch.verb("open"), uninterrupted():
            opened = Open(
                epoch=prepared.opening.number,
                at=datetime.now(UTC),
                side=direction.to.side,
                rollback_path=prepared.rollback_path,
                end_lsns={name: marker.lsn for name, marker in ends.items()},
                steps_ms=dict(watch.steps_ms),
            )
            prepared.opening.execute(opened)
            with direction.from_.translated(CONTROL_DATABASE):
                dog.stand_down(leaving, databases)
            undo.deadline = None
            try:
                prepared.opening.commit(clock)
            except Unknown:
                undo.past_return()
                raise
            undo.past_return()
            dog.connection.close()

    # From here on nothing is undone: failures are retried and reported.
    with watch.verb("switch"):
        problems = [p for s in prepared.switches if (p := turn(s, clock)) is not None]
    return Moved(opened, watch.pause_ms(), watch.steps_ms, problems)


def read_the_rest(direction: Direction, prepared: Prepared) -> sequences.Values:
    """Read the sequences. Raises Refused if a large object was written since the comparison."""
    written = large_objects.changed(direction.from_, direction, prepared.large_objects)
    if written:
        raise Refused(
            f"Large objects were written on the {direction.from_.side} during the {direction.name}.",
            detail=f"In {', '.join(written)}. Large objects are not replicated.",
            hint=f"Stop what writes them, then: {AGAIN}",
        )
    return sequences.read(direction, prepared.sequences)


def turn(switch: Switch, clock: Clock) -> Problem | None:
    """Apply and check a switch, a few times if need be, and resume its clients in any case. Returns the problem."""
    problem: Problem | None = None
    for attempt in range(SWITCH_ATTEMPTS):
        if attempt:
            clock.sleep(0.2)
        try:
            switch.apply()
            switch.check()
            problem = None
            break
        except Problem as found:
            problem = found
    try:
        switch.resume()
    except Problem as found:
        problem = problem or found
    return problem


def take_down(direction: Direction) -> None:
    """Take the fence down, over a new connection if the old one is lost."""
    try:
        with direction.from_.translated(CONTROL_DATABASE):
            fence.down(direction.from_.db(), "the move was broken off")
    except Exception:
        direction.from_.drop_cached(CONTROL_DATABASE)
        with direction.from_.translated(CONTROL_DATABASE):
            fence.down(direction.from_.db(), "the move was broken off")


def follow_again(direction: Direction) -> None:
    """Enable the forward subscriptions again."""
    direction.in_each(lambda d: subscriptions.enable(direction.to, d.name, direction.forward(d.oid)))
