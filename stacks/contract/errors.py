"""What can go wrong, in words for the person at the keyboard: message, detail, hint, and the exit status.

A library module raises one of these; only the command line prints it and exits with `status`.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """Exit statuses of every command, and of `lab up`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_YET = 3
    REFUSED = 4
    INTERRUPTED = 130


class Problem(Exception):
    """A command, or the Pulumi program, cannot reach its goal.

    `message` says what happened, `detail` what it means (and what state things are in now),
    `hint` what to do. None of them ever holds a secret.
    """

    status: Status = Status.FAILED
    document: Mapping[str, Any] | None = None
    """What `--json` shows besides, where a command found something out before it ended like this."""

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.detail, self.hint = message, detail, hint

    def plain(self) -> str:
        """What happened, what it means, what to do: a line each."""
        lines = (self.message, self.detail, f"What to do: {self.hint}" if self.hint else None)
        return "\n".join(line for line in lines if line)


class Failed(Problem):
    """The world did not do what was asked of it: a silent server, a wrong password, a difference found."""


class Usage(Problem):
    """The command or its configuration is wrong: unknown stack, unreadable outputs."""

    status = Status.USAGE


class ConfigError(Usage):
    """The stack's configuration cannot be followed; `key` (such as `encryptdb:kmsKey`) is the one to change."""

    def __init__(self, key: str, message: str, hint: str) -> None:
        self.key = key if ":" in key else f"encryptdb:{key}"
        super().__init__(f"{self.key}: {message}", hint=hint)


class NotYet(Problem):
    """Something that comes first is not there: infrastructure, catch-up, an approval."""

    status = Status.NOT_YET


class Refused(Problem):
    """Going on would not be safe."""

    status = Status.REFUSED


class Interrupted(Problem):
    """The operator, or the pipeline, asked to stop (SIGINT or SIGTERM)."""

    status = Status.INTERRUPTED
