"""The point of no return, where the answer to COMMIT is lost: never taken for the one or for the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from encryptdb.controller.cutover import finish
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.opening import NotOpened, Opening, Unknown
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import connect_privileges, control
from encryptdb.controller.postgres.server import Server as Side
from encryptdb.controller.records import CLASSES, ConnectPrivileges, Open, Records
from encryptdb.controller.waiting import Reporter, SystemClock
from encryptdb.stacks.contract.errors import Failed
from tests.cutover.rig import DATABASES, World
from tests.kit.proxy import Proxy
from tests.record_samples import SAMPLES


class Hurried:
    """A clock whose time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1.0)


OPENED = Open(1, datetime.now(UTC), "target", True, {}, {})


@contextmanager
def opening(world: World) -> Iterator[tuple[Opening, Proxy]]:
    """An OPEN of which only the COMMIT is left, through a proxy; the target is closed again afterwards."""
    with Proxy(world.target.port) as proxy, world.migration() as m:
        databases = observe(m).migrated
        behind = Side("target", "127.0.0.1", proxy.port, m.the_target.login)
        prepared = Opening(replace(Direction.cutover(m, databases), to=behind), 1)
        prepared.execute(OPENED)
        try:
            yield prepared, proxy
        finally:
            prepared.close()
            behind.close()
            control.forget(m.the_target, Open)
            connect_privileges.close(m.the_target, databases, keep=["encryptdb_replication"])


def closed(world: World) -> set[str]:
    with world.migration() as m:
        return connect_privileges.closed(m.the_target)


def test_executed_but_not_committed_the_target_is_closed(world: World) -> None:
    with opening(world):
        assert closed(world) == set(DATABASES)


def test_committed_the_target_is_open_and_says_so(world: World) -> None:
    with opening(world) as (prepared, _):
        prepared.commit(SystemClock())
        assert prepared.opened
        assert world.writable(world.target)
        assert closed(world) == set()
        with world.migration() as m:
            found = control.records(m.the_target)
            assert found is not None and found.open == OPENED


def test_an_answer_that_was_lost_is_asked_for_again(world: World) -> None:
    with opening(world) as (prepared, proxy):
        proxy.mute()

        class HealsWhileWaiting(Hurried):
            def sleep(self, seconds: float) -> None:
                proxy.heal()
                super().sleep(seconds)

        prepared.commit(HealsWhileWaiting())
        assert prepared.opened
        assert world.writable(world.target)


def test_a_commit_that_did_not_happen_is_told_as_that(world: World) -> None:
    with opening(world) as (prepared, _):
        world.target.sql("SELECT pg_terminate_backend(%s)", [prepared.connection.info.backend_pid])
        with pytest.raises(NotOpened):
            prepared.commit(SystemClock())
        assert not prepared.opened
        assert not world.writable(world.target)


def test_while_nobody_can_tell_neither_is_assumed(world: World) -> None:
    with opening(world) as (prepared, proxy):
        proxy.cut()
        with pytest.raises(Unknown, match="Could not determine whether the target was opened") as told:
            prepared.commit(Hurried())
        assert isinstance(told.value, Failed)
        assert "stays closed" in (told.value.detail or "")
        assert not prepared.opened


def test_each_record_is_carried_and_cleared_as_its_properties_say(fresh: Callable[[], World]) -> None:
    """A sample of everything on both sides, but of the privileges, which are to be restored."""
    world = fresh()
    samples = {key: record for key, record in SAMPLES.items() if key != ConnectPrivileges.key}
    with world.migration() as m:
        direction = Direction.cutover(m, observe(m).migrated)

        def remembered(server: Side) -> Records:
            return control.records(server) or Records()

        before = remembered(m.the_target)
        for record in samples.values():
            control.write(m.source, record)
        finish.carry(direction)
        after = remembered(m.the_target)
        assert after == replace(before, **{key: r for key, r in samples.items() if r.carried})

        for record in samples.values():
            control.write(m.the_target, record)
        opened = replace(OPENED, epoch=8)
        prepared = Opening(direction, 8)
        prepared.execute(opened)
        prepared.commit(SystemClock())
        kept = {key: record for key, record in samples.items() if not record.cleared}
        assert remembered(m.the_target) == Records(**kept, open=opened)

        # Without a rollback path no lasting fence is put up; the owner's disabled subscriptions are told and forgotten.
        finish.leave(direction, rollback_path=False, reporter=Reporter(), clock=SystemClock())
        assert remembered(m.source) == replace(Records(**kept), disabled_subscriptions=None)
    assert (
        kept.keys() | {cls.key for cls in CLASSES.values() if cls.cleared} | {ConnectPrivileges.key} == CLASSES.keys()
    )
