"""States that take time: a handler sets the state in between and returns, a thread works and sets the last one."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

LOCK = threading.RLock()
"""Held by every RDS request and by workers while they change what requests read. moto itself has no lock."""


def background(what: str, work: Callable[[], None], failed: Callable[[Exception], None]) -> threading.Thread:
    """Do `work` in a thread. If it raises, the reason goes to the lab's log and `failed` sets a state that says so."""

    def guarded() -> None:
        try:
            work()
            log.info("%s: done", what)
        except Exception as error:
            log.exception("%s: failed: %s", what, error)
            with LOCK:
                failed(error)

    log.info("%s: begun", what)
    thread = threading.Thread(target=guarded, name=what, daemon=True)
    thread.start()
    return thread
