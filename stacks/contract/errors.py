"""Errors with message, detail, hint and exit status. Modules raise them; only the command line prints and exits."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

AGAIN = "run the command again"
"""In a hint: the command line that failed. `Problem.name_again` puts it there."""


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

    `message` is short and factual, `detail` what is known, `hint` what to do, preferably a command line. No secrets.
    """

    status: Status = Status.FAILED
    document: Mapping[str, Any] | None = None
    """What the command had found by then, for `--json`."""

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.detail, self.hint = message, detail, hint

    def plain(self) -> str:
        """Message, detail and hint, a line each."""
        lines = (self.message, self.detail, f"What to do: {self.hint}" if self.hint else None)
        return "\n".join(line for line in lines if line)

    def name_again(self, command_line: str) -> None:
        """Put the command line in the place of AGAIN."""
        self.hint = self.hint and self.hint.replace(AGAIN, command_line)


class Failed(Problem):
    """A server is unavailable, a password is wrong, a difference was found."""


class Usage(Problem):
    """The command or its configuration is wrong: unknown stack, unreadable outputs."""

    status = Status.USAGE


class ConfigError(Usage):
    """The stack's configuration is invalid; `key` (such as `encryptdb:kmsKey`) is the one to change."""

    def __init__(self, key: str, message: str, hint: str) -> None:
        self.key = key if ":" in key else f"encryptdb:{key}"
        super().__init__(f"{self.key}: {message}", hint=hint)


class NotYet(Problem):
    """A prerequisite is missing: infrastructure, catch-up, an approval."""

    status = Status.NOT_YET


class Refused(Problem):
    """Going on would not be safe."""

    status = Status.REFUSED


class Interrupted(Problem):
    """Stopped by SIGINT or SIGTERM."""

    status = Status.INTERRUPTED
