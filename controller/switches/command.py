"""A program of the user's own, for whatever else must be told where the database is.

    {"kind": "command", "argv": ["/usr/local/bin/repoint", "orders"], "seconds": 30}        seconds is optional

It is run once per event, with one JSON document on its standard input:

    {"event": "probe" | "pause" | "apply" | "check" | "resume",
     "from": {"host", "port", "identifier"}, "to": {"host", "port", "identifier"}, "databases": ["orders"]}

Exit status 0 means success; any other status fails the event, and the last line of standard error is the error message.
Every event may be sent more than once. `probe` must change nothing; `pause` holds clients, if the program can do that;
`resume` is also sent if nothing was paused, and by another process if the controller was killed during the pause.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.switches import Context, Switch
from encryptdb.stacks.contract.errors import Failed, Usage

SECONDS = 30.0
"""Time limit of one event, unless `seconds` sets another."""

SHOWN = 300
"""Characters of the program's last line that are shown."""


@dataclass
class Command(Switch):
    """A program and its arguments; `seconds` is the time limit of one event."""

    argv: tuple[str, ...]
    seconds: float
    kind = "command"
    holds_clients = True

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "Command":
        argv, seconds = document.get("argv"), document.get("seconds", SECONDS)
        if not isinstance(argv, list | tuple) or not argv or not all(isinstance(a, str) for a in argv):
            raise Usage(f"argv: expected a list of strings, found {argv!r}.")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise Usage(f"seconds: expected a positive number, found {seconds!r}.")
        return cls(context, tuple(argv), float(seconds))

    @property
    def name(self) -> str:
        return f"the command {self.argv[0]}"

    def probe(self) -> str | None:
        if shutil.which(self.argv[0]) is None:
            raise Failed(
                f"{self.name} is not an executable on this machine.",
                hint="Give its full path in argv, and make it executable where the controller runs.",
            )
        self._tell("probe", self.seconds)
        return None

    def pause(self, seconds: float) -> None:
        self._tell("pause", min(seconds, self.seconds))

    def apply(self) -> None:
        self._tell("apply", self.seconds)

    def check(self) -> None:
        self._tell("check", self.seconds)

    def resume(self) -> None:
        self._tell("resume", self.seconds)

    def held(self) -> dict[str, Any]:
        return {"argv": list(self.argv), "document": self._document("resume"), "seconds": self.seconds}

    @staticmethod
    def resume_held(held: Mapping[str, Any]) -> None:
        run(held["argv"], held["document"], held["seconds"], os.environ)

    def _document(self, event: str) -> dict[str, Any]:
        return {
            "event": event,
            "from": {"host": self.from_.host, "port": self.from_.port, "identifier": self.from_.identifier},
            "to": {"host": self.to.host, "port": self.to.port, "identifier": self.to.identifier},
            "databases": list(self.context.databases),
        }

    def _tell(self, event: str, seconds: float) -> None:
        run(self.argv, self._document(event), seconds, self.context.environ)


def run(argv: Sequence[str], document: Mapping[str, Any], seconds: float, environ: Mapping[str, str]) -> None:
    """Run the program for one event. Raises Failed if it fails, or takes longer than `seconds`: then it is killed
    together with its child processes."""
    event = document["event"]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_without_passwords(environ),
            # Ctrl-C must not end it midway, and its process group can be killed as a whole.
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"The command {argv[0]} could not be started for {event!r}.", detail=error.strerror) from None
    try:
        _, said = process.communicate(json.dumps(document).encode() + b"\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise Failed(
            f"The command {argv[0]} was killed after {seconds:g} s during {event!r}.",
            hint="Make it faster, or raise its limit (`seconds` of this switch; for `pause` also --max-pause).",
        ) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise Failed(
            f"The command {argv[0]} failed for {event!r} with status {process.returncode}.",
            detail=lines[-1][:SHOWN] if lines else "It wrote nothing to standard error.",
        )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Not communicate(): a grandchild that left the group could keep the pipe open forever.
    process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _without_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the controller's own passwords."""
    return {k: v for k, v in environ.items() if not (k.startswith("ENCRYPTDB_") and k.endswith("_PASSWORD"))}


SWITCH = Command
