"""Observe, decide, act: walks through the steps of a command until its goal is met."""

import contextlib
from collections.abc import Iterator

from controller import control
from controller.control import Lock
from controller.errors import Failed
from controller.migration import Migration
from controller.observe import State, observe
from controller.plan import PLAN
from controller.station import station
from controller.steps.step import Command, Step


def next_step(m: Migration, state: State) -> Step | None:
    """The first step of the plan whose goal is not met; None at the end, and after `abandon`.

    Catching up is asked anew by every `replicate`, so here it counts as met once it has been done.
    """
    if station(m, state) in ("abandoned", "retired"):
        return None
    for step in PLAN:
        if step.command != "prepare" and m.target is None:
            return step
        if step.name == "catch-up":
            if "caught_up" not in state.records and "open" not in state.records:
                return step
        elif "open" in state.records and step.command in ("prepare", "replicate"):
            continue
        elif not step.done(m, state):
            return step
    return None


def advance(m: Migration, command: Command, state: State, lock: Lock | None = None) -> State:
    """Do every step of one command that is not done yet, and return the last observation.

    Raises whatever a step raises; Failed where a step ended without reaching its goal.
    """
    for step in PLAN:
        if step.command != command:
            continue
        if step.done(m, state):
            continue
        if lock is not None:
            lock.check()
        m.say(step.summary)
        step.act(m, state)
        if step.reboots and lock is not None:
            lock.renew()
        state = observe(m, with_mark=True)
        if step.name != "catch-up" and not step.done(m, state):
            raise Failed(
                f"The step {step.name} ended, but its goal is not met.",
                detail=f"The goal was: {step.summary}.",
                hint="Look at what the servers say (python -m controller status), then run the command again.",
            )
        if state.records:
            m.note(step.name, command=command)
    return state


@contextlib.contextmanager
def locked(m: Migration, *, source: bool = True, target: bool = False) -> Iterator[Lock]:
    """Hold the lock while the block runs: on the source, then on the target where it has a control database.

    Yields the lock of the side that decides. Raises Refused where another controller is at work.
    """
    locks: list[Lock] = []
    try:
        if source:
            locks.append(Lock(m.source))
            locks[-1].acquire()
        if target and m.target is not None and control.exists(m.target):
            locks.append(Lock(m.target))
            locks[-1].acquire()
        yield locks[-1] if not source and locks else (locks[0] if locks else Lock(m.source))
    finally:
        for lock in reversed(locks):
            lock.release()
