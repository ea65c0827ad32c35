"""Whatever fails before OPEN ends with the source serving, at any verb; afterwards the cutover can be had again."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from encryptdb.controller.commands import cutover
from encryptdb.controller.migration import Moment
from encryptdb.controller.postgres import connect_privileges
from encryptdb.stacks.contract.errors import Failed, Interrupted, Problem
from tests.cutover.aborts import Fault, assert_as_before
from tests.cutover.rig import DATABASES, World, controller_process, watched
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

BEFORE_OPEN = [
    ("watchdog", "begin"),
    ("fence", "begin"),
    ("fence", "end"),
    ("end markers", "end"),
    ("drain", "end"),
    ("sequences", "end"),
    ("detach", "end"),
    ("rollback path", "end"),
    ("open", "begin"),
]


def raising(verb: str, moment: str, error: type[BaseException]) -> object:
    def observer(at: str, when: Moment) -> None:
        if (at, when) == (verb, moment):
            raise error

    return observer


@pytest.mark.parametrize(("verb", "moment"), BEFORE_OPEN)
def test_a_fault_at_any_verb_leaves_the_source_serving(world: World, verb: str, moment: str) -> None:
    error = KeyboardInterrupt if moment == "end" and verb in ("fence", "drain", "detach") else Fault
    with Writers(world.source, 2) as writers:
        with world.migration() as m, pytest.raises(Problem) as told:
            cutover.run(watched(m, raising(verb, moment, error)))  # type: ignore[arg-type]
        assert isinstance(told.value, Interrupted if error is KeyboardInterrupt else Failed)
        assert "The source serves again" in (told.value.detail or "")
        count = len(writers.acknowledged)
        wait_for(lambda: len(writers.acknowledged) > count + 5, "the applications to write again")
    assert_as_before(world)
    wait_for(lambda: world.rows(world.target) == world.rows(world.source), "the target to follow again")
    assert lost_and_repeated(world.rows(world.source), writers) == ([], [])


def test_a_pause_that_outlasts_the_watchdog_does_not_open(world: World) -> None:
    def dawdle(verb: str, moment: Moment) -> None:
        if (verb, moment) == ("rollback path", "end"):
            wait_for(lambda: world.writable(world.source), "the watchdog to open the source")

    with world.migration(max_pause=1.5) as m, pytest.raises(Failed, match="the watchdog is not running any more"):
        cutover.run(watched(m, dawdle))
    assert_as_before(world)


def test_a_target_that_dies_in_the_pause_leaves_the_source_serving(world: World) -> None:
    def crash(verb: str, moment: Moment) -> None:
        if (verb, moment) == ("end markers", "end"):
            world.target.stop("immediate")

    with world.migration(max_pause=3) as m, pytest.raises(Failed):
        cutover.run(watched(m, crash))
    assert world.writable(world.source)
    world.target.start()
    with world.migration(dry_run=True) as m:
        # It follows again, and what the abort could not tidy up there does not stand in the way.
        wait_for(lambda: _runs(lambda: cutover.run(m)), "the target to have caught up again")


def _runs(action: object) -> bool:
    try:
        action()  # type: ignore[operator]
    except Problem:
        return False
    return True


@pytest.mark.parametrize("verb", ["fence", "rollback path"])
def test_killed_inside_the_pause_the_watchdog_lets_the_source_serve(world: World, verb: str) -> None:
    with Writers(world.source, 2) as writers:
        killed = controller_process(
            world,
            f"cutover.run(watched(m, lambda verb, moment: os.kill(os.getpid(), signal.SIGKILL) "
            f"if (verb, moment) == ({verb!r}, 'end') else None))",
        )
        _, said = killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL, said
        assert not world.writable(world.source), "killed inside the pause, so the fence is up"
        count = len(writers.acknowledged)
        # The rig's --max-pause is 2 s; the margin is for a busy machine, not for the watchdog.
        wait_for(lambda: world.writable(world.source), "the watchdog to open the source", seconds=10)
        wait_for(lambda: len(writers.acknowledged) > count + 5, "the applications to write again")
    assert lost_and_repeated(world.rows(world.source), writers) == ([], [])


def test_killed_inside_the_pause_the_next_run_does_not_wait_for_the_watchdog(world: World) -> None:
    killed = controller_process(
        world,
        "import dataclasses\n"
        "m = dataclasses.replace(m, options=dataclasses.replace(m.options, max_pause=600.0))\n"
        "cutover.run(watched(m, lambda verb, moment: os.kill(os.getpid(), signal.SIGKILL) "
        "if (verb, moment) == ('fence', 'end') else None))",
    )
    killed.communicate(timeout=60)
    assert not world.writable(world.source)
    with world.migration(dry_run=True) as m:
        assert cutover.run(m)["dry_run"]
    assert any("an earlier run was interrupted" in line for line in world.said)
    assert world.writable(world.source)


def test_sigterm_in_the_pause_is_an_interruption(world: World) -> None:
    running = controller_process(
        world,
        "from encryptdb.controller.cli import _terminate\n"
        "from encryptdb.stacks.contract.errors import Interrupted\n"
        "import time\n"
        "signal.signal(signal.SIGTERM, _terminate)\n"
        "def wait(verb, moment):\n"
        "    if (verb, moment) == ('fence', 'end'):\n"
        "        print('fenced', flush=True)\n"
        "        time.sleep(30)\n"
        "try:\n"
        "    cutover.run(watched(m, wait))\n"
        "except Interrupted as told:\n"
        "    print(told.detail)\n",
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "fenced\n"
    os.kill(running.pid, signal.SIGTERM)
    said, errors = running.communicate(timeout=30)
    assert "The source serves again" in said, errors
    assert_as_before(world)


def test_cut_off_after_open_the_same_command_completes_it(fresh: Callable[[], World]) -> None:
    world = fresh()
    with Writers(world.source, 2) as writers:
        with world.migration() as m, pytest.raises(Fault):
            cutover.run(watched(m, raising("switch", "begin", Fault)))  # type: ignore[arg-type]
        assert world.writable(world.target)
        assert not world.writable(world.source)
    with world.migration() as m:
        done = cutover.run(m)
        assert done["interrupted"] is True
        assert done["serving"] == "target"
        assert cutover.run(m) | {"databases": done["databases"]} == done
        assert connect_privileges.closed(m.source) == set(DATABASES)
    assert lost_and_repeated(world.rows(world.target), writers) == ([], [])
    began = time.monotonic()
    with Writers(world.target, 1) as later:
        pass
    wait_for(
        lambda: lost_and_repeated(world.rows(world.source), later) == ([], []),
        f"the rollback path to run, since {began:.0f}",
    )
