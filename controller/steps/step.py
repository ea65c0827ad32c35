"""What a step is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import ObservedServer

Command = Literal["prepare", "replicate", "cutover", "retire"]

Goal = Callable[[Migration, Observed], bool]
Act = Callable[[Migration, Observed], None]


@dataclass(frozen=True)
class Step:
    """One step of a command.

    `summary` is the operator's log line. `done` decides from the observation whether the goal is reached; None: act in
    every run. `act`, and `undo`, which `abandon` runs, are safe to repeat; no `undo`: nothing is left on the source.
    """

    name: str
    command: Command
    summary: str
    done: Goal | None
    act: Act
    undo: Act | None = None
    reboots: bool = False
    """Whether `act` may reboot the source: our own connections, the lock's among them, do not outlive that."""
    drops_control_of: Literal["source", "target"] | None = None
    """Whose control database `act` drops, and with it the lock there."""
    undo_drops_control: bool = False
    """Whether `undo` drops the source's control database, and with it the lock there."""


def observed_source(observed: Observed) -> ObservedServer:
    """The source as it was observed, for steps of commands that need it (`permissions.NEEDS`)."""
    assert observed.source is not None
    return observed.source


def observed_target(observed: Observed) -> ObservedServer:
    """The target as it was observed, for steps of commands that need it (`permissions.NEEDS`)."""
    assert observed.target is not None
    return observed.target
