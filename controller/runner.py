"""Observe, decide, act: does the steps of one command until its goal is met."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from encryptdb.controller import permissions
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.plan import PLAN
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.control import Lock
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.state import Standing, decide
from encryptdb.controller.steps.step import Command, Step
from encryptdb.stacks.contract.errors import Failed


@dataclass(frozen=True)
class Begun:
    """What a command found before it did anything. `done`: its goal is reached already."""

    observed: Observed
    standing: Standing
    done: bool


def begin(m: Migration, command: permissions.Command) -> Begun:
    """Observe, and ask the table of states.

    Raises NotYet, Refused, or the problem of a side that the command needs; each carries the document.
    """
    observed = observe(m)
    standing = decide(m.outputs, m.names, observed)
    problem = permissions.refusal(standing, command, m.outputs, m.options.given)
    if problem is not None:
        problem.document = document(m, observed)
        raise problem
    return Begun(observed, standing, permissions.cell(standing, command).verdict is permissions.Verdict.DONE)


class Locks:
    """The locks that a command holds: while it does, no other controller works on the migration."""

    def __init__(self) -> None:
        self._held: dict[SideName, Lock] = {}

    def acquire(self, lock: Lock) -> None:
        """Raises Refused where another controller is at work."""
        lock.acquire()
        self._held[lock.server.side] = lock

    def check(self) -> None:
        """Raise Failed where one was lost: then nothing more may be done."""
        for lock in self._held.values():
            lock.check()

    def renew(self) -> None:
        """Take them again where a reboot ended their connections. Raises Refused where another was faster."""
        for lock in self._held.values():
            lock.renew()

    def release(self, side: SideName) -> None:
        """Give one back, if it is held."""
        if (lock := self._held.pop(side, None)) is not None:
            lock.release()

    def release_all(self) -> None:
        for side in ("target", "source"):
            self.release(side)


@contextlib.contextmanager
def locked(m: Migration, *sides: SideName) -> Iterator[Locks]:
    """Hold the lock of each side that has a control database, source first. Raises Refused as `Lock.acquire`."""
    locks = Locks()
    try:
        for server in m.sides():
            if server.side in sides and control.exists(server):
                locks.acquire(Lock(server))
        yield locks
    finally:
        locks.release_all()


def steps_of(command: Command) -> Iterator[Step]:
    """The plan's steps of one command, in order."""
    return (step for step in PLAN if step.command == command)


def advance(m: Migration, command: Command, locks: Locks) -> Observed:
    """Do every step of the command whose goal is not met, and return the last observation. `m.observer` is told when a
    step begins, when its act has ended, and when its goal has been seen.

    Raises whatever a step raises; Failed where a step ended without reaching its goal.
    """
    observed = observe(m)
    read = observed.read
    for step in steps_of(command):
        m.observer(step.name, "begin")
        if step.done is None or not step.done(m, observed):
            locks.check()
            m.say(step.summary)
            if step.drops_control_of is not None:
                locks.release(step.drops_control_of)
            step.act(m, observed)
            m.observer(step.name, "effect")
            if step.reboots:
                locks.renew()
            observed = observe(m, need=read)
            if step.done is not None and not step.done(m, observed):
                raise Failed(
                    f"The step {step.name} ended without reaching its goal: {step.summary}.",
                    hint=f"encryptdb {command} --stack {m.outputs.stack}",
                )
            note(m, observed, step.name, command=command)
        m.observer(step.name, "end")
    return observed


def note(m: Migration, observed: Observed, event: str, **detail: Any) -> None:
    """Journal an event on the side that serves, if it has a control database."""
    server = m.target if observed.serving == "target" else m.source
    if server is not None and observed.records:
        control.note(server, event, **detail)


def undo(m: Migration, locks: Locks) -> None:
    """Undo every step, the last one first."""
    for step in reversed(PLAN):
        if step.undo is None:
            continue
        m.observer(f"undo {step.name}", "begin")
        observed = observe(m)
        locks.check()
        m.say(f"undo: {step.summary}")
        if step.undo_drops_control:
            locks.release("source")
        step.undo(m, observed)
        m.observer(f"undo {step.name}", "effect")
        if step.reboots:
            locks.renew()
        m.observer(f"undo {step.name}", "end")


def next_step(command: Command | None, m: Migration, observed: Observed) -> Step | None:
    """The first step of the command whose goal is not met; None where there is none, or no command."""
    if command is None:
        return None
    return next((s for s in steps_of(command) if s.done is None or not s.done(m, observed)), None)
