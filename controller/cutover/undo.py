"""The undo inside the pause: every verb registers its undo, and an exception before OPEN runs them all.

Those that `from_` needs to serve run first, in reverse order; then the cleanup. A second Ctrl-C does not interrupt
this. A failed undo does not stop the others; it is reported with what the watchdog will do.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import psycopg

from encryptdb.controller.postgres.server import Server
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import AGAIN, Failed, Interrupted, Problem

Action = Callable[[], object]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Block SIGINT and SIGTERM inside the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Undo:
    """A context manager: an exception inside it undoes what was registered, unless `past_return` was called."""

    server: Server
    clock: Clock
    deadline: float | None
    """Monotonic time at which the watchdog acts; None once it has ended."""
    _serve: list[tuple[str, Action]] = field(default_factory=list)
    _tidy: list[tuple[str, Action]] = field(default_factory=list)
    _past_return: bool = False

    def first(self, what: str, action: Action) -> None:
        """Register an undo that `from_` needs to serve."""
        self._serve.append((what, action))

    def then(self, what: str, action: Action) -> None:
        """Register cleanup."""
        self._tidy.append((what, action))

    def past_return(self) -> None:
        """The other side is open, or may be: undo nothing."""
        self._past_return = True

    def __enter__(self) -> "Undo":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or self._past_return:
            return
        with uninterrupted():
            started = self.clock.monotonic()
            failed = self._run(self._serve)
            took = self.clock.monotonic() - started
            untidy = self._run(self._tidy)
        raise self._explain(error, failed, untidy, took) from error

    def _run(self, actions: list[tuple[str, Action]]) -> list[str]:
        failed = []
        for what, action in reversed(actions):
            try:
                action()
            except Problem as problem:
                failed.append(f"{what}: {problem.message} {problem.detail or ''}".strip())
            except psycopg.Error as problem:
                failed.append(f"{what}: {self.server.explain(problem, 'encryptdb').detail}")
        actions.clear()
        return failed

    def _who_takes_it_down(self) -> str:
        if self.deadline is None:
            return f"The watchdog has ended; the next run opens the {self.server.side}."
        left = max(0.0, self.deadline - self.clock.monotonic())
        return (
            f"The watchdog in the {self.server.side} takes the fence down by itself in {left:.1f} s at the latest; "
            "a pooler that still holds its clients needs RESUME."
        )

    def _explain(self, error: BaseException, failed: list[str], untidy: list[str], took: float) -> BaseException:
        side = self.server.side
        if failed:
            now = f"Undo failed ({'; '.join(failed)}). {self._who_takes_it_down()}"
        else:
            now = f"The {side} serves again, {1000 * took:.0f} ms after the failure. Nothing was moved or lost."
        if untidy:
            now += f" Left for the next run: {'; '.join(untidy)}."
        if isinstance(error, KeyboardInterrupt):
            return Interrupted("Interrupted before the other side was opened.", detail=now, hint=AGAIN)
        if isinstance(error, psycopg.Error):
            error = self.server.explain(error, "encryptdb")
        if isinstance(error, Problem):
            return type(error)(error.message, detail=f"{error.detail or ''} {now}".strip(), hint=error.hint)
        if isinstance(error, Exception):
            return Failed(f"The move failed: {type(error).__name__}: {error}", detail=now, hint=AGAIN)
        return error
