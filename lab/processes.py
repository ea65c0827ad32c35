"""Running programs as the servers' owner, and ending processes by the pid that is really theirs."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from encryptdb.lab.errors import LabError


@dataclass(frozen=True)
class Owner:
    """The user that PostgreSQL runs as: it refuses root, so root hands the servers to `postgres` or `nobody`."""

    name: str
    uid: int
    gid: int

    @classmethod
    def current(cls) -> "Owner":
        if os.geteuid() != 0:
            entry = pwd.getpwuid(os.geteuid())
        else:
            try:
                entry = pwd.getpwnam("postgres")
            except KeyError:
                entry = pwd.getpwnam("nobody")
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def credentials(self) -> dict[str, Any]:
        """Arguments for subprocess that make the child run as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


# Nothing of the caller's surroundings reaches a server: no PG*, no AWS_*, no locale of the terminal.
CLEAN: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def run(
    argv: Sequence[str | Path], what: str, owner: Owner | None = None, timeout: float = 120, input: str = ""
) -> str:
    """Run a program to its end and return what it wrote. `what` says in the error what was being done.

    Raises LabError when it fails or takes longer than `timeout` seconds.
    """
    who = owner.credentials() if owner else {}
    done: subprocess.CompletedProcess[str]
    try:
        done = subprocess.run(
            [str(a) for a in argv],
            text=True,
            capture_output=True,
            timeout=timeout,
            cwd="/",
            env=CLEAN,
            input=input,
            **who,
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{what}: {argv[0]} did not end within {timeout:g} s") from late
    except OSError as error:
        raise LabError(f"{what}: {argv[0]} cannot be run: {error}") from error
    if done.returncode:
        raise LabError(f"{what}: {Path(argv[0]).name} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    owner: Owner | None = None,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    env: Mapping[str, str] = CLEAN,
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this call, in a session of its own, its output appended to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(a) for a in argv],
            stdin=stdin,
            stdout=out,
            stderr=out,
            cwd="/",
            env=dict(env),
            start_new_session=True,
            **(owner.credentials() if owner else {}),
        )


def wait_until(condition: Callable[[], bool], what: str, seconds: float, every: float = 0.02) -> None:
    """Poll `condition`; raises LabError that says `what` was waited for once `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s for {what}")
        time.sleep(every)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie has ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(pid: int, signals: Sequence[tuple[signal.Signals, float]], what: str) -> None:
    """End one process: each signal in turn, with the seconds to wait after it. Raises LabError if it stays."""
    for number, seconds in signals:
        if not alive(pid):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        try:
            wait_until(lambda: not alive(pid), what, seconds)
        except LabError:
            continue
        return
    if alive(pid):
        raise LabError(f"{what}: process {pid} does not end")
