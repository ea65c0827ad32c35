"""The undo inside the pause: every verb registers how it is undone, and any exception before OPEN undoes them all.

What makes the left side serve again comes first, in the reverse order of the verbs; tidying up comes after it. A second
Ctrl-C does not interrupt this. An undo that fails does not stop the others: it is told, with what the watchdog will do.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import psycopg

from encryptdb.controller.postgres.server import Server
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import Failed, Interrupted, Problem

Action = Callable[[], object]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block has ended: what is in it must be done wholly."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Undo:
    """A context manager: an exception inside it undoes what was registered; `past_return` forgets it."""

    server: Server
    clock: Clock
    deadline: float | None
    """Monotonic time at which the watchdog acts; None once it has stood down."""
    _serve: list[tuple[str, Action]] = field(default_factory=list)
    _tidy: list[tuple[str, Action]] = field(default_factory=list)
    _past_return: bool = False

    def first(self, what: str, action: Action) -> None:
        """Register something that the left side's serving depends on."""
        self._serve.append((what, action))

    def then(self, what: str, action: Action) -> None:
        """Register something that can wait until the left side serves."""
        self._tidy.append((what, action))

    def past_return(self) -> None:
        """The other side is open, or may be: nothing is undone any more."""
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
            return f"The watchdog has stood down already: run the command again, it opens the {self.server.side}."
        left = max(0.0, self.deadline - self.clock.monotonic())
        return (
            f"The watchdog in the {self.server.side} takes the fence down by itself in {left:.1f} s at the latest; "
            "a pooler that still holds its clients needs RESUME."
        )

    def _explain(self, error: BaseException, failed: list[str], untidy: list[str], took: float) -> BaseException:
        side = self.server.side
        if failed:
            now = f"Not all could be undone ({'; '.join(failed)}). {self._who_takes_it_down()}"
        else:
            now = f"The {side} serves again, {1000 * took:.0f} ms after this was noticed. Nothing was moved or lost."
        if untidy:
            now += f" Left for the next run: {'; '.join(untidy)}."
        if isinstance(error, KeyboardInterrupt):
            return Interrupted("Interrupted before the other side was opened.", detail=now, hint="Run it again.")
        if isinstance(error, psycopg.Error):
            error = self.server.explain(error, "encryptdb")
        if isinstance(error, Problem):
            return type(error)(error.message, detail=f"{error.detail or ''} {now}".strip(), hint=error.hint)
        if isinstance(error, Exception):
            return Failed(f"The move broke off: {type(error).__name__}: {error}", detail=now, hint="Run it again.")
        return error
