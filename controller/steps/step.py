"""What a step is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, ObservedServer

Command = Literal["prepare", "replicate", "cutover", "retire"]
COMMANDS: tuple[Command, ...] = ("prepare", "replicate", "cutover", "retire")

Goal = Callable[[Migration, Observed], bool]
Act = Callable[[Migration, Observed], None]


@dataclass(frozen=True)
class Step:
    """One thing that a command does.

    `summary` is the line the operator reads while it happens. `done` recognises the goal from what was observed,
    without asking anyone. `act` may be run again after any interruption. `undo` is what `abandon` does, also
    safe to repeat; None says that nothing on the source is left behind, so there is nothing to undo.
    """

    name: str
    command: Command
    summary: str
    done: Goal
    act: Act
    undo: Act | None
    reboots: bool = False
    """Whether `act` may reboot the source: our own connections, the lock's among them, do not outlive that."""


def observed_source(observed: Observed) -> ObservedServer:
    """The source as it was observed. Before OPEN it always is: otherwise observing fails."""
    assert observed.source is not None
    return observed.source


def observed_target(observed: Observed) -> ObservedServer:
    """The target as it was observed, for the steps that come after the commands made sure that there is one."""
    assert observed.target is not None
    return observed.target
