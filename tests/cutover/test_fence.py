"""The fence: who is in the way is seen and named. What it holds against is in test_adversaries."""

import threading

import psycopg
import pytest

from encryptdb.controller.commands import cutover
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import fence
from encryptdb.controller.waiting import SystemClock
from encryptdb.stacks.contract.errors import Refused
from tests.cutover.rig import World


def test_a_session_that_may_not_be_ended_is_named_and_aborts(world: World) -> None:
    world.source.sql("ALTER ROLE master NOSUPERUSER")
    superuser_before = world.source.sql("SHOW server_version_num")[0][0] < "160000"
    try:
        with world.source.connect("app") as immune, world.migration(max_pause=1.5) as m:
            immune.execute("SET application_name = 'rdsadmin at work'")
            with pytest.raises(Refused) as told:
                _cut_over_or_clear(m, world, superuser_before)
            assert "rdsadmin at work" in (told.value.detail or "")
            assert "postgres" in (told.value.detail or "")
            assert immune.execute("SELECT 1").fetchone() == (1,), "it was left alone"
    finally:
        if superuser_before:
            world.source.sql("ALTER ROLE master SUPERUSER")
    assert world.writable(world.source)


def _cut_over_or_clear(m: Migration, world: World, only_clear: bool) -> None:
    """A whole cutover; below 16, where its subscriptions need a superuser, the fence alone."""
    if not only_clear:
        cutover.run(m)
        return
    databases = observe(m).migrated
    m.source.close()
    connection = m.source.db()
    fence.up(connection, databases)
    try:
        fence.clear(connection, databases, spared=m.source.pids(), slots=[m.names.slot(d.oid) for d in databases],
                    seconds=0.5, clock=SystemClock(), side="source")  # fmt: skip
    finally:
        fence.down(connection, "the test")


def test_a_client_that_is_just_connecting_is_seen(world: World) -> None:
    """It holds a lock on the database, and is in no view of sessions yet (up to PostgreSQL 17)."""
    connecting = threading.Thread(target=_connect_slowly, args=(world,))
    with world.migration() as m:
        databases = observe(m).migrated
        m.source.close()
        connection = m.source.db()
        connecting.start()
        seen: list[fence.Inside] = []
        try:
            while connecting.is_alive() and not seen:
                seen = [
                    i
                    for i in fence.evict(connection, databases, spared=m.source.pids(), slots=_slots(m, databases))
                    if i.kind != "autovacuum worker"
                ]
        finally:
            connecting.join(30)
    assert seen, "the fence took the database for empty while a client was on its way in"


def _slots(m: object, databases: object) -> list[str]:
    return [m.names.slot(d.oid) for d in databases]  # type: ignore[attr-defined]


def _connect_slowly(world: World) -> None:
    try:
        world.source.connect("app", user="app", options="-c post_auth_delay=1").close()
    except psycopg.Error:
        return


def test_prepared_transactions_are_named_and_refused(world: World) -> None:
    with world.source.connect("app") as db:
        db.execute("BEGIN")
        db.execute("INSERT INTO ledger (who, n) VALUES ('two-phase', 1)")
        db.execute("PREPARE TRANSACTION 'from the bank'")
        try:
            with world.migration() as m, pytest.raises(Refused, match="prepared transactions") as told:
                cutover.run(m)
            assert "'from the bank' of postgres in app" in (told.value.detail or "")
        finally:
            db.execute("ROLLBACK PREPARED 'from the bank'")
