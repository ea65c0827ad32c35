"""Slots: dropped whoever reads them, and never silently waited for."""

import contextlib
import threading
import time

from encryptdb.controller.postgres import slots
from encryptdb.controller.waiting import SystemClock
from tests.cutover.rig import World


class Hasty(SystemClock):
    """Ten seconds pass at each look, so what is told every ten seconds is told at once."""

    passed = 0.0

    def monotonic(self) -> float:
        self.passed += 10
        return self.passed

    def sleep(self, seconds: float) -> None:
        time.sleep(0.05)


def test_a_slot_is_dropped_although_it_is_read_and_again_although_it_is_gone(world: World) -> None:
    world.target.sql("SELECT pg_create_logical_replication_slot('read', 'test_decoding')", database="app")
    with world.migration() as m:
        with contextlib.closing(m.the_target.connect_replication("app")) as reader:
            reader.pgconn.send_query(b"START_REPLICATION SLOT read LOGICAL 0/0")
            while not slots.read(m.the_target)["read"].active:
                time.sleep(0.01)
            slots.drop(m.the_target, "read", reporter=m.reporter, clock=m.clock)
        assert "read" not in slots.read(m.the_target)
        slots.drop(m.the_target, "read", reporter=m.reporter, clock=m.clock)


def test_making_one_tells_whose_transaction_it_waits_for(world: World) -> None:
    with world.target.connect("app") as writer, world.migration() as m:
        writer.execute("BEGIN READ WRITE")
        row = writer.execute("SELECT txid_current(), pg_backend_pid()").fetchone()
        assert row is not None

        def end_when_told() -> None:
            while not world.said or f"pid {row[1]}, " not in world.said[-1]:
                time.sleep(0.01)
            writer.execute("ROLLBACK")

        threading.Thread(target=end_when_told, daemon=True).start()
        slots.create(m.the_target, "app", "waited_for", reporter=m.reporter, clock=Hasty())
        slots.drop(m.the_target, "waited_for", reporter=m.reporter, clock=m.clock)
