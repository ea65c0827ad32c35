"""`python -m demo` as a command: its usage, and that it leaves nothing behind when it is interrupted."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo import interruptions

ROOT = Path(__file__).resolve().parent.parent.parent


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # As from a terminal: a group of its own, which Ctrl-C would reach as a whole.
        process_group=0,
    )


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in interruptions.SIGNALS}
    interruptions.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_interruption_waits_for_the_end_of_what_must_not_be_cut(handlers: None) -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), interruptions.deferred():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done


def test_a_second_interruption_does_not_disturb_the_ending(handlers: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    with interruptions.deferred():
        signal.raise_signal(signal.SIGINT)


def test_a_version_that_is_not_there_is_wrong_usage() -> None:
    demo = start("--pg", "9")
    said = demo.communicate(timeout=60)[0]
    assert demo.returncode == 2
    assert "apt install postgresql-9" in said


def test_an_engine_that_nobody_knows_is_wrong_usage() -> None:
    demo = start("--engine", "mysql")
    said = demo.communicate(timeout=60)[0]
    assert demo.returncode == 2
    assert "invalid choice" in said


@pytest.mark.parametrize(
    ("chapter", "number"), [("A local AWS", signal.SIGINT), ("pulumi up, phase prepare", signal.SIGTERM)]
)
def test_interrupted_it_ends_all_that_it_had_started(chapter: str, number: signal.Signals) -> None:
    demo = start()
    assert demo.stdout is not None
    # A story that never gets there must not keep the test waiting for a line.
    late = threading.Timer(120, demo.kill)
    late.start()
    try:
        said = ""
        while not re.search(rf"{re.escape(chapter)}.*\n.*\$ python -m lab", said, re.DOTALL):
            line = demo.stdout.readline()
            assert line, f"the demo ended before {chapter!r}:\n{said}"
            said += line
        # Ctrl-C reaches the whole group; SIGTERM is sent to the process alone.
        (os.killpg if number == signal.SIGINT else os.kill)(demo.pid, number)
        said += demo.communicate(timeout=100)[0]
    finally:
        late.cancel()
        if demo.poll() is None:
            demo.kill()
            demo.wait(10)
    assert demo.returncode == 130, said
    (directory,) = set(re.findall(r"--dir (\S+)/lab", said))
    assert not Path(directory).exists()
    assert directory not in Path("/proc/mounts").read_text()
    left = [" ".join(p.info["cmdline"]) for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
    assert [line for line in left if directory in line] == []
