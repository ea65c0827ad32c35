"""The user's own program as a switch: told by a document, bounded in time, and never given what it does not need."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encryptdb.controller.commands import cutover
from encryptdb.controller.switches import Endpoint, build, guard
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Problem, Usage
from tests.cutover.rig import DATABASES, World

OLD, NEW = Endpoint("10.0.0.1", 5432, "orders"), Endpoint("10.0.0.2", 5433, "orders-encrypted-1")

PROGRAM = """
import json, os, sys
document = json.load(sys.stdin)
with open({log!r}, "a") as file:
    file.write(json.dumps({{"document": document, "argv": sys.argv[1:], "environ": dict(os.environ)}}) + "\\n")
"""


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """Where the program notes what it was told."""
    return tmp_path / "heard"


def switch(*argv: str, **more: Any) -> Any:
    document = {"kind": "command", "argv": list(argv)} | more
    (made,) = build((document,), OLD, NEW, Aws("eu-central-1"), ("app", "orders"))
    return made


def python(code: str, **more: Any) -> Any:
    return switch(sys.executable, "-c", code, "an argument", **more)


def told(heard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in heard.read_text().splitlines()]


def test_every_event_comes_with_the_whole_document_and_nothing_secret(
    heard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTDB_SOURCE_PASSWORD", "hunter2")
    monkeypatch.setenv("OF_THE_USER", "kept")
    made = python(PROGRAM.format(log=str(heard)))
    made.probe()
    made.pause(1)
    made.apply()
    made.check()
    made.resume()
    assert [t["document"] for t in told(heard)] == [
        {
            "event": event,
            "from": {"host": "10.0.0.1", "port": 5432, "identifier": "orders"},
            "to": {"host": "10.0.0.2", "port": 5433, "identifier": "orders-encrypted-1"},
            "databases": ["app", "orders"],
        }
        for event in ("probe", "pause", "apply", "check", "resume")
    ]
    assert all(t["argv"] == ["an argument"] and t["environ"]["OF_THE_USER"] == "kept" for t in told(heard))
    assert "hunter2" not in heard.read_text()


@pytest.mark.parametrize("event", ["probe", "apply", "check", "resume"])
def test_a_status_that_is_not_0_is_a_failure_in_the_programs_last_words(event: str) -> None:
    made = python("import sys; sys.stderr.write('working\\nno such pool: orders\\n'); sys.exit(7)")
    with pytest.raises(Failed, match=f"failed for '{event}' with status 7") as failure:
        getattr(made, event)()
    assert failure.value.detail == "no such pool: orders"


def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    made = switch("/bin/sh", "-c", f"sleep 600 & echo $! > {child}; wait", seconds=0.5)
    with pytest.raises(Failed, match=r"was killed after 0\.5 s during 'apply'"):
        made.apply()
    pid = int(child.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the child was left running"
        time.sleep(0.02)


def test_in_the_pause_it_gets_no_longer_than_the_pause_allows() -> None:
    with pytest.raises(Failed, match=r"was killed after 0\.2 s during 'pause'"):
        switch("/bin/sh", "-c", "sleep 60", seconds=30).pause(0.2)


def test_what_is_no_program_is_found_before_the_pause() -> None:
    with pytest.raises(Failed, match="is not an executable on this machine") as problem:
        switch("/nowhere/repoint").probe()
    assert isinstance(problem.value, Problem) and problem.value.hint


def test_the_guard_tells_it_to_resume_when_the_controller_is_killed(heard: Path) -> None:
    made = python(PROGRAM.format(log=str(heard)))
    child = os.fork()
    if child == 0:
        # In a process of its own, which ends in the pause without a word.
        with guard.guarding([made], 0.1):
            os._exit(0)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 20
    while not heard.exists() or not heard.read_text().endswith("\n"):
        assert time.monotonic() < deadline, "the guard did not tell it to resume"
        time.sleep(0.05)
    assert [t["document"]["event"] for t in told(heard)] == ["resume"]


def test_a_cutover_whose_clients_cannot_be_held_is_aborted_and_resumes_them(world: World, heard: Path) -> None:
    code = PROGRAM.format(log=str(heard)) + "sys.exit(document['event'] == 'pause' and 'they cannot be held')"
    world.switches = ({"kind": "command", "argv": [sys.executable, "-c", code]},)
    try:
        with world.migration() as m, pytest.raises(Failed, match="failed for 'pause'") as failure:
            cutover.run(m)
    finally:
        world.switches = ()
    assert "they cannot be held The source serves again" in (failure.value.detail or "")
    assert [t["document"]["event"] for t in told(heard)] == ["probe", "pause", "resume"]
    assert world.writable(world.source)


def test_a_cutover_tells_it_everything_in_its_order(fresh: Callable[[], World], heard: Path) -> None:
    world = fresh()
    argv = [sys.executable, "-c", PROGRAM.format(log=str(heard))]
    world.switches = ({"kind": "command", "argv": argv},)
    with world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    assert [t["document"]["event"] for t in told(heard)] == ["probe", "pause", "apply", "check", "resume"]
    first = told(heard)[0]["document"]
    assert (first["from"]["port"], first["to"]["port"]) == (world.source.port, world.target.port)
    assert (first["from"]["identifier"], first["to"]["identifier"]) == ("orders", "copy")
    assert first["databases"] == list(DATABASES)


@pytest.mark.parametrize(
    "change", [{"argv": "one string"}, {"argv": []}, {"argv": [1]}, {"seconds": 0}, {"seconds": "10"}]
)
def test_a_wrong_config_names_its_key(change: dict[str, Any]) -> None:
    with pytest.raises(Usage, match=rf"switches\[0\]\.{next(iter(change))}: expected"):
        build(({"kind": "command", "argv": ["x"]} | change,), OLD, NEW, Aws("eu-central-1"))
