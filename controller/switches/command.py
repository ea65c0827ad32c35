"""A program of the user's own: whatever else must be told where the database is.

    {"kind": "command", "argv": ["/usr/local/bin/repoint", "orders"], "seconds": 30}        seconds is optional

It is run once for each event, with one JSON document on its standard input:

    {"event": "probe" | "pause" | "apply" | "check" | "undo" | "resume",
     "from": {"host", "port", "identifier"}, "to": {"host", "port", "identifier"}, "databases": ["orders"]}

Exit status 0 means that it did what the event says; anything else fails the event, in the last line that it wrote to
standard error. Every event may come more than once. `probe` changes nothing; `pause` holds clients back, if it can;
`resume` also comes where nothing was paused, and from another process if the controller was killed in the pause.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.switches import Endpoint, Target
from encryptdb.stacks.contract.errors import Failed, Usage

SECONDS = 30.0
"""What one event may take unless `seconds` says otherwise."""

WORDS = 300
"""Characters of the program's last line that are shown."""


@dataclass
class Command:
    """A program and its arguments; `seconds` is the longest that one event may take."""

    argv: tuple[str, ...]
    seconds: float
    from_: Endpoint
    to: Endpoint
    databases: tuple[str, ...]
    environ: Mapping[str, str]
    kind: str = "command"

    @classmethod
    def read(cls, document: Mapping[str, Any], target: Target) -> "Command":
        """From the stack's config. Raises Usage."""
        argv, seconds = document.get("argv"), document.get("seconds", SECONDS)
        if not isinstance(argv, list | tuple) or not argv or not all(isinstance(a, str) for a in argv):
            raise Usage(f"argv: expected a list of strings, found {argv!r}.")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise Usage(f"seconds: expected a positive number, found {seconds!r}.")
        return cls(tuple(argv), float(seconds), target.from_, target.to, target.databases, target.environ)

    @property
    def name(self) -> str:
        return f"the command {self.argv[0]}"

    def probe(self) -> str | None:
        if shutil.which(self.argv[0]) is None:
            raise Failed(
                f"{self.name} is not a program that can be run here.",
                hint="Give its whole path in argv, and make it executable where the controller runs.",
            )
        self._tell("probe", self.seconds)
        return None

    def pause(self, seconds: float) -> None:
        self._tell("pause", min(seconds, self.seconds))

    def apply(self) -> None:
        self._tell("apply", self.seconds)

    def check(self) -> None:
        self._tell("check", self.seconds)

    def undo(self) -> None:
        self._tell("undo", self.seconds)

    def resume(self) -> None:
        self._tell("resume", self.seconds)

    def release(self) -> dict[str, Any] | None:
        return {"argv": list(self.argv), "document": self._document("resume"), "seconds": self.seconds}

    def _document(self, event: str) -> dict[str, Any]:
        return {
            "event": event,
            "from": {"host": self.from_.host, "port": self.from_.port, "identifier": self.from_.identifier},
            "to": {"host": self.to.host, "port": self.to.port, "identifier": self.to.identifier},
            "databases": list(self.databases),
        }

    def _tell(self, event: str, seconds: float) -> None:
        run(self.argv, self._document(event), seconds, self.environ)


def run(
    argv: "tuple[str, ...] | list[str]", document: Mapping[str, Any], seconds: float, environ: Mapping[str, str]
) -> None:
    """Run the program for one event. Raises Failed, in its last words, or that it took too long: then it is killed,
    with all processes of its own."""
    event = document["event"]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_without_passwords(environ),
            # Ctrl-C at the keyboard must not end it midway; and so it can be ended with its children.
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"The command {argv[0]} could not be run for {event!r}.", detail=error.strerror) from None
    try:
        _, said = process.communicate(json.dumps(document).encode() + b"\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise Failed(
            f"The command {argv[0]} took longer than {seconds:g} s for {event!r} and was ended.",
            hint="Make it faster, or give it longer (`seconds` of this switch; in the pause also --max-pause).",
        ) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise Failed(
            f"The command {argv[0]} failed for {event!r} with status {process.returncode}.",
            detail=lines[-1][:WORDS] if lines else "It said nothing on standard error.",
        )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # Not communicate(): a grandchild that left the group could hold the pipe open for ever.
    process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _without_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    """The program gets the environment, but none of the logins that are the controller's own."""
    return {k: v for k, v in environ.items() if not (k.startswith("ENCRYPTDB_") and k.endswith("_PASSWORD"))}
