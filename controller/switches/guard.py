"""Lets clients go if the controller is killed while it holds them back at a pooler.

A pooler's PAUSE outlives whoever asked for it. So a small process of its own waits for the controller's last word on
its standard input: `done`, or (when the controller dies) nothing. Then it waits until the watchdog has taken down the
fence, and resumes. Passwords come through the pipe, never through arguments or files.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from encryptdb.controller.postgres.login import Secret
from encryptdb.controller.switches import Switch, command
from encryptdb.controller.switches.console import Console, ConsoleError
from encryptdb.stacks.contract.errors import Failed

READY_SECONDS = 10.0
RESUME_AFTER_SECONDS = 1.0
"""After the watchdog's deadline: it is started after the guard, and its statement needs a moment."""


@contextlib.contextmanager
def guarding(switches: Sequence[Switch], seconds: float) -> Iterator[None]:
    """A guard runs while the block does; killed in it, clients are let go `seconds` from now. No guard where no
    switch holds anybody back. Raises Failed where it does not start."""
    held = [r for r in (s.release() for s in switches) if r is not None]
    if not held:
        yield
        return
    guard = subprocess.Popen(
        [sys.executable, "-m", "encryptdb.controller.switches.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[2],
        # Ctrl-C at the keyboard goes to the whole process group: the guard must not be in it.
        start_new_session=True,
    )
    assert guard.stdin is not None and guard.stdout is not None
    try:
        document = {"resume_at": time.time() + seconds + RESUME_AFTER_SECONDS, "held": held}
        guard.stdin.write(json.dumps(document).encode() + b"\n")
        guard.stdin.flush()
        if not select.select([guard.stdout], [], [], READY_SECONDS)[0] or guard.stdout.read(6) != b"ready\n":
            raise Failed("The guard, which lets clients go should this process be killed, did not start.")
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


def resume(holders: list[dict[str, Any]]) -> None:
    """Let go whom each holds: RESUME every pool that is paused and was ours to pause, `resume` to every command."""
    for pooler in holders:
        if "argv" in pooler:
            with contextlib.suppress(Failed):
                command.run(pooler["argv"], pooler["document"], pooler["seconds"], os.environ)
            continue
        password = Secret(pooler["password"]) if pooler["password"] else None
        with contextlib.suppress(ConsoleError), Console(pooler["admin"], password) as console:
            for pool in console.query("SHOW DATABASES"):
                if pool["name"] in pooler["pools"] and pool.get("paused") == "1":
                    console.query(f'RESUME "{pool["name"]}"')


def main() -> None:
    """The guard itself."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    document = json.loads(sys.stdin.readline())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.read().strip() == "done":
        return
    time.sleep(max(0.0, document["resume_at"] - time.time()))
    resume(document["held"])


if __name__ == "__main__":
    main()
