"""Running the lab and the controller as their users do: as commands, with JSON on stdout and progress on stderr."""

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from demo import interruptions

ROOT = Path(__file__).resolve().parent.parent


class CommandFailed(Exception):
    """A command ended with another status than 0. What it said has been passed on already."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"`{command}` ended with status {status}; what it said stands above")


@dataclass(frozen=True)
class Done:
    """A command that reached its goal: its JSON document, how long it took (seconds), and when it ran (time.monotonic()
    and time.time() seconds at its begin and end)."""

    document: Mapping[str, Any]
    seconds: float
    monotonic: tuple[float, float]
    clock: tuple[float, float]


def run(arguments: list[str], environment: Mapping[str, str], hear: Callable[[str], None], deadline: float) -> Done:
    """Run `python -m ARGUMENTS --json`, passing each line of its stderr to `hear`.

    Raises CommandFailed for a status other than 0, and after `deadline` seconds, when the command is ended.
    """
    began, clock = time.monotonic(), time.time()
    command = "python -m " + shlex.join(arguments)
    with ExitStack() as ending:
        with interruptions.deferred():
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--json"],
                cwd=ROOT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Ctrl-C in the terminal comes to the demo alone, which then ends the command as its user would.
                start_new_session=True,
            )
            ending.callback(_end, process)
        assert process.stdout is not None and process.stderr is not None
        answer = list[str]()
        listeners = [_listen(process.stderr, lambda line: hear(line.rstrip())), _listen(process.stdout, answer.append)]
        try:
            status = process.wait(deadline)
        except subprocess.TimeoutExpired:
            hear(f"not done after {deadline:.0f} s: the demo ends it")
            status = _end(process)
        for listener in listeners:
            listener.join(5)
    if status:
        raise CommandFailed(command, status)
    document = json.loads("".join(answer)) if "".join(answer).strip() else {}
    return Done(document, time.monotonic() - began, (began, time.monotonic()), (clock, time.time()))


def _listen(stream: IO[str], hear: Callable[[str], None]) -> threading.Thread:
    def listen() -> None:
        for line in stream:
            hear(line)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return thread


def _end(process: "subprocess.Popen[str]") -> int:
    """End a command that still runs as Ctrl-C does, and for good if that does not help. Returns its status."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(5)


def read_environment(file: Path) -> dict[str, str]:
    """The variables that a sourceable file sets: lines `NAME=value` or `export NAME=value`, shell-quoted."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        words = shlex.split(line, comments=True)
        for word in words[1:] if words[:1] == ["export"] else words:
            name, equals, value = word.partition("=")
            if equals:
                found[name] = value
    return found
