"""Runs the stack's program against the monitor, twice as `pulumi up` does: first to see, then to do."""

import asyncio
import contextvars
import runpy
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockEngine, MockSettings
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import configure
from pulumi.runtime.stack import run_in_stack

from encryptdb.lab.provider import HANDLERS
from encryptdb.lab.provider.base import Calls, Handler, Properties
from encryptdb.lab.provider.functions import FUNCTIONS, Function
from encryptdb.lab.pulumi.deployment import Changes, Deployment
from encryptdb.lab.pulumi.interrupts import Interrupts
from encryptdb.lab.pulumi.monitor import Monitor
from encryptdb.lab.pulumi.state import State


@dataclass(frozen=True)
class Program:
    """The program, and the stack that it runs as. `config` is fully qualified (`encryptdb:source`)."""

    main: Callable[[], object]
    root: Path
    project: str
    stack: str
    config: Mapping[str, str]


def update(
    program: Program,
    state: State,
    calls: Calls,
    changes: Callable[[Changes], None] = lambda _: None,
    handlers: Mapping[str, Handler] = HANDLERS,
    functions: Mapping[str, Function] = FUNCTIONS,
) -> Properties:
    """Preview, then do it; the stack's outputs. `changes` is told what was done, also when that ends in an error.

    Whatever the program refuses, and whatever is protected, is found by the preview, before anything is touched.
    """
    seen = Deployment(state, handlers, calls, preview=True)
    run(program, Monitor(seen, functions), preview=True)
    seen.finish()
    doing = Deployment(state, handlers, calls, preview=False)
    monitor = Monitor(doing, functions)
    try:
        run(program, monitor, preview=False)
        doing.finish()
    finally:
        changes(doing.changes)
    return monitor.outputs


def run(program: Program, monitor: Monitor, *, preview: bool) -> None:
    """Run the program once. Raises what it raised, or what made a resource fail."""
    # The SDK keeps its settings and the root resource in context variables: a context of its own starts afresh.
    contextvars.copy_context().run(_run, program, monitor, preview)


def _run(program: Program, monitor: Monitor, preview: bool) -> None:
    configure(
        MockSettings(  # type: ignore[no-untyped-call]
            monitor=monitor,
            monitor_features=set(),
            engine=_Engine(monitor.deployment.calls.say, quiet=preview),
            project=program.project,
            stack=program.stack,
            root_directory=str(program.root),
            organization="lab",
            dry_run=preview,
            callbacks=None,
            outputs=set(),
            lock=threading.Lock(),
            package_refs={},
            base_providers_by_ref={},
        )
    )
    set_all_config(dict(program.config), [])
    if str(program.root) not in sys.path:
        sys.path.insert(0, str(program.root))
    loop = asyncio.new_event_loop()
    # What fails is kept by the deployment, and raised below; asyncio would print it a second time.
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    interrupts = Interrupts(loop, monitor.deployment.calls.stop)
    with interrupts.taken():
        try:
            loop.run_until_complete(interrupts.run(run_in_stack(lambda: interrupts.in_the_open(program.main))))
        except Exception:
            if monitor.deployment.failure:
                raise monitor.deployment.failure from None
            raise
        finally:
            _wind_up(loop)


def script(path: Path) -> Callable[[], object]:
    """A program in a file, as `python FILE` would run it."""
    return lambda: runpy.run_path(str(path), run_name="__main__")


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Let what is under way in threads come to its end, so that the state tells the truth, and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)


class _Engine(MockEngine):
    """Where `pulumi.log` goes. Errors are raised and told once, by the command."""

    def __init__(self, say: Callable[[str], None], *, quiet: bool) -> None:
        super().__init__(None)
        self._say, self._quiet = say, quiet

    def Log(self, request: Any) -> None:
        if not self._quiet and request.severity in (engine_pb2.INFO, engine_pb2.WARNING):
            self._say(f"  {request.message}")
