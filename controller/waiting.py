"""Waits with a deadline, and words for whoever watches."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar

from encryptdb.stacks.contract.errors import Failed

T = TypeVar("T")


class Clock(Protocol):
    """The passing of time, injected so that a test can own it. Seconds."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Reporter:
    """Tells the operator what happens, one line each; without a stream, nobody. Never given a secret."""

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
    """Poll `probe` until it returns something other than None, and return that.

    Polls every `every` seconds, more rarely (up to ten times that) in a long wait; says what it waits for
    every 10 seconds. Raises Failed when `seconds` have passed.
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
                f"Waited {seconds:g} s for {what}, in vain.",
                detail=progress() if progress else None,
                hint=hint or "Nothing was lost. Run the command again: it goes on where it stands.",
            )
        if now - told >= 10:
            told = now
            reporter.say(f"waiting for {what}, {now - started:.0f} s{': ' + progress() if progress else ''}")
        clock.sleep(min(pause, max(0.0, started + seconds - now)))
        pause = min(pause * 1.1, every * 10)
