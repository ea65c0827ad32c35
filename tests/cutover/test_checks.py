"""What is looked at before the pause: nothing is fenced, held or changed where one of these is found."""

import pytest

from encryptdb.controller.commands import cutover
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import connect_privileges, control, subscriptions
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused
from tests.cutover.rig import DATABASES, World
from tests.kit.waits import wait_for


def refusal(world: World, kind: type[Problem]) -> str:
    """What a cutover is refused with; it must have done nothing."""
    before = _footprint(world)
    with world.migration(max_pause=2) as m, pytest.raises(kind) as told:
        cutover.run(m)
    assert _footprint(world) == before
    assert told.value.hint
    return f"{told.value.message} {told.value.detail}"


def _footprint(world: World) -> object:
    return [
        server.sql(
            """SELECT (SELECT array_agg((datname, datallowconn, datacl) ORDER BY datname) FROM pg_database)::text,
                      (SELECT array_agg(slot_name ORDER BY slot_name) FROM pg_replication_slots)::text,
                      (SELECT array_agg((subname, subenabled) ORDER BY subname) FROM pg_subscription)::text"""
        )
        for server in (world.source, world.target)
    ]


def _contents(world: World) -> object:
    """Every row of every table of our own databases but the heartbeat, and every sequence, of both sides."""
    relations = """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE c.relkind IN ('r', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                      AND c.relname <> 'heartbeat' ORDER BY 1"""
    return [
        (name, server.sql(f"SELECT * FROM {name} ORDER BY 1", database=database))
        for server in (world.source, world.target)
        for database in (*DATABASES, "encryptdb")
        for (name,) in server.sql(relations, database=database)
    ]


def test_a_dry_run_checks_times_and_changes_nothing(world: World) -> None:
    before = _footprint(world), _contents(world)
    with world.migration(dry_run=True) as m:
        journal = control.journal(m.source)
        told = cutover.run(m)
        assert control.journal(m.source) == journal
    assert (_footprint(world), _contents(world)) == before
    assert told["dry_run"] is True
    assert told["predicted_pause_ms"] >= told["steps_ms"]["drain"] > 0


def test_a_table_that_only_one_side_has(world: World) -> None:
    world.source.sql("CREATE TABLE made_after_the_snapshot (id int)", database="app")
    try:
        assert "app: public.made_after_the_snapshot (only on the source)" in refusal(world, Refused)
    finally:
        world.source.sql("DROP TABLE made_after_the_snapshot", database="app")


def test_a_column_that_was_added_after_the_snapshot(world: World) -> None:
    world.source.sql("ALTER TABLE owned ADD COLUMN later text", database="app")
    try:
        assert "app: public.owned (columns differ)" in refusal(world, Refused)
    finally:
        world.source.sql("ALTER TABLE owned DROP COLUMN later", database="app")


def test_a_sequence_that_differs(world: World) -> None:
    world.source.sql("CREATE SEQUENCE made_later; ALTER SEQUENCE cycling INCREMENT BY 2", database="app")
    try:
        told = refusal(world, Refused)
        assert "app: public.made_later is missing on the target" in told
        assert "app: public.cycling is bigint start 1 increment 2" in told
    finally:
        world.source.sql("DROP SEQUENCE made_later; ALTER SEQUENCE cycling INCREMENT BY 1", database="app")


def test_a_database_that_was_made_after_the_snapshot(world: World) -> None:
    world.source.sql("CREATE DATABASE newcomer")
    try:
        assert "newcomer" in refusal(world, Refused)
    finally:
        world.source.sql("DROP DATABASE newcomer WITH (FORCE)")


def test_a_role_that_would_slip_through_the_lasting_fence(world: World) -> None:
    world.source.sql("GRANT encryptdb_replication TO app")
    try:
        assert "inherit from one that replication or the controller needs: app" in refusal(world, Refused)
    finally:
        world.source.sql("REVOKE encryptdb_replication FROM app")


def test_a_target_that_applications_may_enter(world: World) -> None:
    with world.migration() as m:
        databases = observe(m).migrated
        connect_privileges.reopen(m.the_target, databases)
    try:
        assert "Applications may be writing in: app" in refusal(world, Refused)
    finally:
        with world.migration() as m:
            connect_privileges.close(m.the_target, databases, keep=["encryptdb_replication"])


def test_a_database_that_does_not_follow(world: World) -> None:
    with world.migration() as m:
        name = m.names.slot(observe(m).migrated[0].oid)
        subscriptions.disable(m.the_target, "app", name)
        try:
            assert "does not follow the source yet" in refusal(world, NotYet)
        finally:
            subscriptions.enable(m.the_target, "app", name)


def test_a_target_that_is_stuck_behind(world: World) -> None:
    with world.migration() as m:
        wait_for(lambda: _workers(m) == len(DATABASES), "every apply worker to run")
    with world.target.connect("app") as blocker:
        blocker.execute("BEGIN")
        # An apply worker must wait for this row; the marker comes after it.
        blocker.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        world.source.sql("INSERT INTO ledger (who, n) VALUES ('stuck', 1)", database="app")
        assert "Its end marker has not arrived in: app" in refusal(world, NotYet)
        blocker.execute("ROLLBACK")


def _workers(m: Migration) -> int:
    observed = observe(m)
    assert observed.target is not None
    return sum(s.worker_pid is not None for s in observed.target.subscriptions.values())
