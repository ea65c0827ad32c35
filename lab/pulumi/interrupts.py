"""Ctrl-C while an event loop runs: it ends the work, and never the loop's own bookkeeping."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any


class Interrupts:
    """What SIGINT does to one run of a loop: `stop` is set, which ends the waits in other threads, and the run's task
    is cancelled.

    Python's own answer is a KeyboardInterrupt in whatever the main thread is at. If that is the loop itself, between
    taking a callback and calling it, the callback is lost, and the task that it was to wake sleeps for ever, cancelled
    or not. (asyncio.Runner cancels for the same reason; but it has no say in how a program ends that is not awaiting.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        self._loop, self._stop = loop, stop
        self._task: asyncio.Task[Any] | None = None
        self._open = False
        self._asked = False

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take SIGINT over while the block runs. Raises KeyboardInterrupt at its end where one came."""
        ours = threading.current_thread() is threading.main_thread()
        # Whoever ignores the signal, or has a handler of their own, keeps it.
        ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        except asyncio.CancelledError:
            if not self._asked:
                raise
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._asked:
            raise KeyboardInterrupt

    def run(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """The task that is cancelled."""
        self._task = self._loop.create_task(work)
        return self._task

    def in_the_open(self, program: Callable[[], object]) -> None:
        """Call what awaits nothing: no callback can be lost in it, so it is interrupted as any program is."""
        self._open = True
        try:
            # What a program returns would be awaited; only what it registers counts.
            program()
        finally:
            self._open = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, True
        self._stop.set()
        if self._open:
            raise KeyboardInterrupt
        if first and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
