"""Why the program declares nothing: each error says what was found, what it means and what to do.

They are `pulumi.RunError`s, so `pulumi up` prints them plainly, without a stack trace, and stops before anything is
touched. `status` is the exit status that `lab up` ends with for the same refusal.
"""

import pulumi


class StackError(pulumi.RunError):
    """The program refuses. `message` says what was found and what that means, `hint` what to do. Never a secret."""

    status = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n  What to do: {hint}")
        self.message, self.hint = message, hint


class ConfigError(StackError):
    """The configuration cannot be followed; `key` (such as `encryptdb:kmsKey`) is the one to change."""

    status = 2

    def __init__(self, key: str, message: str, hint: str) -> None:
        self.key = key if ":" in key else f"encryptdb:{key}"
        super().__init__(f"{self.key}: {message}", hint)


class NotYet(StackError):
    """Something that comes first has not been done."""

    status = 3


class Unsafe(StackError):
    """Going on could lose data or protection."""

    status = 4


class Unreadable(StackError):
    """AWS did not answer a read, or refused it. Nothing is concluded from that."""

    status = 1
