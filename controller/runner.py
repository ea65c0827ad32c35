"""Observe, decide, act: walks through the steps of a command until its goal is met."""

import contextlib
from collections.abc import Iterator

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.plan import PLAN
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.control import Lock
from encryptdb.controller.state import state
from encryptdb.controller.steps.step import Command, Step
from encryptdb.stacks.contract.errors import Failed


def next_step(m: Migration, observed: Observed) -> Step | None:
    """The first step of the plan whose goal is not met; None at the end, and after `abandon`.

    Catching up is asked anew by every `replicate`, so here it counts as met once it has been done.
    """
    if state(m, observed) in ("abandoned", "retired"):
        return None
    for step in PLAN:
        if step.command != "prepare" and m.target is None:
            return step
        if step.name == "catch-up":
            if observed.records.caught_up is None and observed.records.open is None:
                return step
        elif observed.records.open and step.command in ("prepare", "replicate"):
            continue
        elif not step.done(m, observed):
            return step
    return None


def advance(m: Migration, command: Command, observed: Observed, lock: Lock | None = None) -> Observed:
    """Do every step of one command that is not done yet, and return the last observation.

    Raises whatever a step raises; Failed where a step ended without reaching its goal.
    """
    for step in PLAN:
        if step.command != command:
            continue
        if step.done(m, observed):
            continue
        if lock is not None:
            lock.check()
        m.say(step.summary)
        step.act(m, observed)
        if step.reboots and lock is not None:
            lock.renew()
        observed = observe(m, with_parameter=True)
        if step.name != "catch-up" and not step.done(m, observed):
            raise Failed(
                f"The step {step.name} ended, but its goal is not met.",
                detail=f"The goal was: {step.summary}.",
                hint="Look at what the servers say (python -m controller status), then run the command again.",
            )
        if observed.records:
            m.note(step.name, command=command)
    return observed


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
