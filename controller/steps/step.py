"""What a step is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controller.migration import Migration
from controller.observe import ServerState, State

Command = Literal["prepare", "replicate", "cutover", "retire"]
COMMANDS: tuple[Command, ...] = ("prepare", "replicate", "cutover", "retire")

Goal = Callable[[Migration, State], bool]
Act = Callable[[Migration, State], None]


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


def observed_source(state: State) -> ServerState:
    """The source as it was observed. Before OPEN it always is: otherwise observing fails."""
    assert state.source is not None
    return state.source


def observed_target(state: State) -> ServerState:
    """The target as it was observed, for the steps that come after the commands made sure that there is one."""
    assert state.target is not None
    return state.target
