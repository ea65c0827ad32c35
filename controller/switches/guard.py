"""Resumes clients if the controller is killed while a switch holds them.

A pooler's PAUSE outlives the session that issued it. The guard is a separate process that reads its standard input:
the controller ends it with `done`; end of file without that means that the controller was killed. Then the guard waits
until the watchdog has taken the fence down, and resumes. Passwords go through the pipe, never through arguments or
files.
"""

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from encryptdb.controller.switches import Switch, switch_class
from encryptdb.stacks.contract.errors import Failed

READY_SECONDS = 10.0
RESUME_AFTER_SECONDS = 1.0
"""Added to the watchdog's deadline: the watchdog is started after the guard, and its statement takes a moment."""


@contextlib.contextmanager
def guarding(switches: Sequence[Switch], seconds: float) -> Iterator[None]:
    """Run a guard for the duration of the block: if this process is killed in it, clients are resumed `seconds` from
    now. No guard runs if no switch holds clients. Raises Failed if it does not start."""
    held = [(switch.kind, switch.held()) for switch in switches if switch.holds_clients]
    if not held:
        yield
        return
    guard = subprocess.Popen(
        [sys.executable, "-m", "encryptdb.controller.switches.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[2],
        # Ctrl-C goes to the whole process group of the terminal: the guard must not be in it.
        start_new_session=True,
    )
    assert guard.stdin is not None and guard.stdout is not None
    try:
        document = {"resume_at": time.time() + seconds + RESUME_AFTER_SECONDS, "held": held}
        guard.stdin.write(json.dumps(document).encode() + b"\n")
        guard.stdin.flush()
        if not select.select([guard.stdout], [], [], READY_SECONDS)[0] or guard.stdout.read(6) != b"ready\n":
            raise Failed(
                "The guard process did not start.",
                detail="It resumes the clients of a pooler if this process is killed. Nothing was changed.",
            )
        yield
    finally:
        with contextlib.suppress(OSError):
            guard.stdin.write(b"done\n")
            guard.stdin.close()
        guard.stdout.close()
        try:
            guard.wait(timeout=READY_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()


def main() -> None:
    """The guard process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    document = json.loads(sys.stdin.readline())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.read().strip() == "done":
        return
    time.sleep(max(0.0, document["resume_at"] - time.time()))
    for kind, held in document["held"]:
        # One that fails must not leave the others' clients held, and nobody is left to tell.
        with contextlib.suppress(Exception):
            switch_class(kind).resume_held(held)


if __name__ == "__main__":
    main()
