"""The one exception that the lab's own code raises on purpose."""

USAGE = 2
"""Exit status: wrong usage or configuration."""
REFUSED = 4
"""Exit status: going on would not be safe."""


class LabError(Exception):
    """Something the lab cannot do: what happened, what it means, what to do, and the exit status for the CLI."""

    def __init__(self, message: str, meaning: str = "", hint: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.message, self.meaning, self.hint, self.status = message, meaning, hint, status
