"""Waits with a deadline, and the operator's log."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar

from encryptdb.stacks.contract.errors import AGAIN, Failed

T = TypeVar("T")


class Clock(Protocol):
    """Time in seconds, injected so that a test can control it."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Reporter:
    """Writes one line per event for the operator; nothing without a stream. Never given a secret."""

    stream: TextIO | None = None
    quiet: bool = False

    def say(self, text: str) -> None:
        if self.stream is not None and not self.quiet:
            self.stream.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
            self.stream.flush()


def wait_until(
    probe: Callable[[], T | None],
    *,
    what: str,
    seconds: float,
    reporter: Reporter,
    clock: Clock,
    every: float = 0.2,
    progress: Callable[[], str] | None = None,
    hint: str | None = None,
) -> T:
    """Poll `probe` until it returns something other than None, and return that. Raises Failed after `seconds`.

    The interval grows from `every` seconds to ten times that; a line is reported every 10 seconds.
    """
    started = clock.monotonic()
    told = started
    pause = every
    while True:
        value = probe()
        if value is not None:
            return value
        now = clock.monotonic()
        if now - started >= seconds:
            raise Failed(
                f"Timed out after {seconds:g} s waiting for {what}.",
                detail=progress() if progress else None,
                hint=hint or f"Nothing was lost. To resume: {AGAIN}",
            )
        if now - told >= 10:
            told = now
            reporter.say(f"waiting for {what}, {now - started:.0f} s{': ' + progress() if progress else ''}")
        clock.sleep(min(pause, max(0.0, started + seconds - now)))
        pause = min(pause * 1.1, every * 10)
