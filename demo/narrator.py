"""The teller of the story: plain lines with the time since the beginning, on one stream."""

import time
from typing import TextIO


class Narrator:
    """Writes the story. Times are seconds since the narrator was made."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._began = stream, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the story has been going on."""
        return time.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """The next thing that happens."""
        self._write(f"\n[{self.seconds:6.1f} s] {title}")

    def say(self, text: str) -> None:
        """One line of what happens in this chapter."""
        self._write(f"           {text}")

    def overhear(self, line: str) -> None:
        """One line that a command wrote itself."""
        self._write(f"           | {line}")

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
