"""Ctrl-C and its relatives: the first one ends the story, and none may disturb the ending.

A signal is turned into KeyboardInterrupt, which can come up anywhere, also between the start of a process and the note
that it must be ended. `deferred` is for exactly those places.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """From now on the first of SIGNALS raises KeyboardInterrupt; later ones are ignored."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def ignore() -> None:
    """From now on none of SIGNALS does anything: what was started is being ended."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """An interruption that comes inside the block raises KeyboardInterrupt at its end."""
    pending = list[int]()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # Where they are ignored already, they stay so. A Python function, because that is not inherited by programs.
    for number in [n for n in SIGNALS if before[n] != signal.SIG_IGN]:
        signal.signal(number, lambda number, frame: pending.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if pending:
        _interrupt(pending[0], None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore()
    raise KeyboardInterrupt
