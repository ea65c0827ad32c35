"""Faults that can be injected at every verb of the move, and what must hold after each of them."""

import inspect
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from psycopg import sql

from encryptdb.controller.cli import _terminate
from encryptdb.controller.commands import cutover, rollback
from encryptdb.controller.cutover import move
from encryptdb.controller.migration import Migration, Moment, Observer
from encryptdb.controller.postgres import connect_privileges, control, watchdog
from encryptdb.controller.records import Records
from encryptdb.stacks.contract.errors import Problem
from tests.cutover.rig import DATABASES, World, controller_process, migration, watched
from tests.kit.proxy import Proxy
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

Point = tuple[str, Moment]

VERBS = re.findall(r'watch\.verb\("([^"]+)"\)', inspect.getsource(move.move))
"""The verbs of the move, in its order, from its own text: a new one is in the matrix by itself."""

_OPEN = VERBS.index("open")
BEFORE_OPEN: list[Point] = [(v, m) for v in VERBS[:_OPEN] for m in ("begin", "end")] + [("open", "begin")]  # type: ignore[misc]
AFTER_OPEN: list[Point] = [("open", "end")] + [(v, m) for v in VERBS[_OPEN + 1 :] for m in ("begin", "end")]  # type: ignore[misc]

MAX_PAUSE = 2.5
"""Seconds. As long as the longest wait of a killed run's source."""


class Fault(Exception):
    """What is raised inside."""


def at(point: Point, action: Callable[[], None]) -> Observer:
    """An observer that does something at one moment of the move."""

    def observer(verb: str, moment: Moment) -> None:
        if (verb, moment) == point:
            action()

    return observer


@contextmanager
def through(world: World, source: int, target: int) -> Iterator[Migration]:
    """The migration as a controller sees it that reaches the servers by these ports."""
    m = migration(source, target, world.switches, world.rollback_window, world.said, max_pause=MAX_PAUSE)
    try:
        yield m
    finally:
        m.close()


def by_exception(world: World, point: Point) -> str:
    def fail() -> None:
        raise Fault

    return _broken(world, point, fail)


def by_sigterm(world: World, point: Point) -> str:
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _broken(world, point, lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)


def by_sigkill(world: World, point: Point) -> str:
    killed = controller_process(
        world,
        f"cutover.run(watched(m, lambda *at: os.kill(os.getpid(), signal.SIGKILL) if at == {point!r} else None))",
        max_pause=MAX_PAUSE,
    )
    _, said = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, said
    return ""


def by_losing_the_source(world: World, point: Point) -> str:
    with Proxy(world.source.port) as proxy, through(world, proxy.port, world.target.port) as m:
        return _said(lambda: cutover.run(watched(m, at(point, proxy.cut))))


def by_losing_the_target(world: World, point: Point) -> str:
    with Proxy(world.target.port) as proxy, through(world, world.source.port, proxy.port) as m:
        return _said(lambda: cutover.run(watched(m, at(point, proxy.cut))))


def by_losing_the_watchdog(world: World, point: Point) -> str:
    shoot = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT encryptdb.watch(%'"

    def gone() -> None:
        wait_for(lambda: world.source.sql(shoot) == [], "the watchdog to be gone")

    said = _broken(world, point, gone)
    assert "the watchdog is not running any more" in said
    return said


FAULTS = {
    "exception": by_exception,
    "SIGTERM": by_sigterm,
    "SIGKILL": by_sigkill,
    "source cut off": by_losing_the_source,
    "target cut off": by_losing_the_target,
    "watchdog gone": by_losing_the_watchdog,
}

MATRIX = [
    (fault, point)
    for fault in FAULTS
    for point in BEFORE_OPEN
    # There must be one to lose.
    if fault != "watchdog gone" or BEFORE_OPEN.index(point) >= BEFORE_OPEN.index(("watchdog", "end"))
]
AFTER_MATRIX = [(fault, point) for fault in FAULTS if fault != "watchdog gone" for point in AFTER_OPEN]


def abort_before_open(world: World, fault: str, point: Point) -> None:
    """The source serves, nothing is lost or repeated, and the next cutover's checks find all as it was."""
    with Writers(world.source, 2) as writers:
        said = FAULTS[fault](world, point)
        if fault in ("exception", "SIGTERM", "target cut off", "watchdog gone"):
            assert "The source serves again" in said
        count = len(writers.acknowledged)
        wait_for(lambda: len(writers.acknowledged) > count + 5, "applications to write on the source again", seconds=15)
    assert _records(world, "target").open is None
    wait_for(lambda: _runs(world), "the next run to find nothing in its way")
    assert_as_before(world)
    wait_for(lambda: world.rows(world.target) == world.rows(world.source), "the target to follow again")
    assert lost_and_repeated(world.rows(world.source), writers) == ([], [])


def abort_after_open(world: World, fault: str, point: Point) -> None:
    """The source stays closed, the command says where it stands, and run again it completes. Then back again."""
    with Writers(world.source, 2) as writers:
        said = FAULTS[fault](world, point)
        assert world.writable(world.target)
        assert not world.writable(world.source)
    if fault != "SIGKILL":
        assert re.search(r"source\b.* stays closed|target is open|target was opened", said), said
    with world.migration() as m:
        done = cutover.run(m)
        assert done["serving"] == "target"
        # How far the databases are behind is measured anew.
        assert cutover.run(m) | {"databases": done["databases"]} == done
    assert not world.writable(world.source)
    _past_the_proxy(world)
    with Writers(world.target, 2) as later:
        pass
    with world.migration() as m:
        assert rollback.run(m)["serving"] == "source"
    for one in (writers, later):
        assert lost_and_repeated(world.rows(world.source), one) == ([], [])


def assert_as_before(world: World) -> None:
    """The source serves, the target is closed and follows, nothing of the move is left."""
    assert world.writable(world.source)
    assert not world.writable(world.target)
    with world.migration() as m:
        assert watchdog.left_over(m.source) == []
        assert connect_privileges.closed(m.the_target) == set(DATABASES)
        assert connect_privileges.closed(m.source) == set()
        assert (control.records(m.the_target) or Records()).open is None
        assert (control.records(m.source) or Records()).moving is None
    watching = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT encryptdb.watch(%'"
    assert world.source.sql(watching) == [(0,)]
    assert world.source.sql("SELECT count(*) FROM pg_subscription") == [(0,)]
    assert world.target.sql("SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert world.target.sql("SELECT bool_and(subenabled), count(*) FROM pg_subscription") == [(True, len(DATABASES))]


def _past_the_proxy(world: World) -> None:
    """The rollback path was made by a controller that reaches the target through a proxy, which is gone by now."""
    for database in DATABASES:
        found = world.source.sql(
            "SELECT s.subname, s.subconninfo FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
            "WHERE d.datname = current_database()",
            database=database,
        )
        for name, conninfo in found:
            direct = re.sub(r"\bport='?\d+'?", f"port={world.target.port}", conninfo)
            statement = sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(sql.Identifier(name), sql.Literal(direct))
            with world.source.connect(database, options="-c default_transaction_read_only=off") as db:
                db.execute(statement)


def _broken(world: World, point: Point, action: Callable[[], None]) -> str:
    with world.migration(max_pause=MAX_PAUSE) as m:
        return _said(lambda: cutover.run(watched(m, at(point, action))))


def _said(run: Callable[[], Any]) -> str:
    """What the broken-off command tells."""
    try:
        run()
    except Problem as problem:
        return f"{problem.message} {problem.detail or ''} {problem.hint or ''}"
    except Fault:
        # After OPEN nothing is undone, and so nothing is explained: the command line says that it is a defect.
        return "the target is open"
    pytest.fail("the fault did not break anything off")


def _runs(world: World) -> bool:
    with suppress(Problem), world.migration(dry_run=True) as m:
        cutover.run(m)
        return True
    return False


def _records(world: World, side: str) -> Records:
    with world.migration() as m:
        return control.records(m.source if side == "source" else m.the_target) or Records()
