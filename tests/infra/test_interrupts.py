"""Ctrl-C ends an update of the lab's engine wherever it comes, and the next one goes on from there."""

import asyncio
import json
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from encryptdb.lab.provider.base import Calls, Interrupted, Properties
from tests.infra.test_engine import Engine, chain
from tests.infra.worlds import Remembered

CALLBACKS = 40
"""How many callbacks of the event loop are tried, from the first creation on. The update has fewer."""


class Telling(Remembered):
    """Tells when the first thing has been made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = False

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        found = super().create(calls, inputs, seconds)
        self.made = True
        return found


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """A background process ignores SIGINT; a terminal's does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(120)
def test_between_taking_a_callback_and_calling_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There Python's KeyboardInterrupt would lose the callback, and the task that it wakes would never end."""
    call = asyncio.Handle._run
    before: Iterator[int]
    ended = []

    def interrupted(handle: asyncio.Handle) -> None:
        if engine.handler.made and next(before) == wanted:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)
        call(handle)

    monkeypatch.setattr(asyncio.Handle, "_run", interrupted)
    for wanted in range(CALLBACKS):
        (tmp_path / str(wanted)).mkdir()
        engine, before = Engine(tmp_path / str(wanted), Telling()), count()
        try:
            engine.up(chain("one", "two", "three"))
            ended.append("whole")
        except (KeyboardInterrupt, Interrupted):
            ended.append("interrupted")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        before = count(CALLBACKS)
        engine.up(chain("one", "two", "three"))
        assert sorted(t["label"] for t in engine.handler.things.values()) == ["one", "three", "two"]
        assert json.loads(engine.file.read_text())["pending"] == []
    assert ended.count("interrupted") > 5


def test_in_the_program_itself(tmp_path: Path) -> None:
    engine = Engine(tmp_path)

    def main() -> None:
        signal.raise_signal(signal.SIGINT)
        chain("one")()

    with pytest.raises(KeyboardInterrupt):
        engine.up(main)
    assert engine.handler.calls == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
