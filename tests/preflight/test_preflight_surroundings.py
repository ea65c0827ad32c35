"""What else is on the servers: other replication, other attempts, jobs, open transactions, logs of statements."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.preflight.check import Finding
from encryptdb.controller.preflight.checks.surroundings import WRITERS
from encryptdb.controller.preflight.facts import Stage
from encryptdb.controller.record_values import DatabaseName
from encryptdb.controller.records import Databases, Identity, Prepared, Records
from tests.preflight.made import CONTROLLER, NAMES, OPENED, TARGET, changed_on, outputs
from tests.preflight.world import World

# What is asked here, every version answers alike.
pytestmark = pytest.mark.parametrize("bin_folder", ["system"], indirect=True)

IDENTITY = Identity("shop-prod", 1, "db-SOURCE", datetime(2024, 4, 27, 10, 0, tzinfo=UTC))


def prepared(world: World, **changes: Any) -> None:
    """What `prepare` leaves on the source: control database, records, a slot for each database."""
    login = world.login()
    control.create(login)
    control.write(login, Databases(databases(world)))
    control.write(login, replace(IDENTITY, **changes))
    control.write(login, Prepared(IDENTITY.source_resource_id, IDENTITY.attempt, {}, IDENTITY.started))
    login.close()


def databases(world: World) -> tuple[DatabaseName, ...]:
    found = world.server.sql(
        "SELECT oid::bigint, datname FROM pg_database WHERE datname NOT LIKE 'template%' AND datname NOT IN "
        "('postgres', 'encryptdb')"
    )
    return tuple(DatabaseName(oid, name) for oid, name in found)


def slot_name(world: World) -> str:
    return NAMES.slot(databases(world)[0].oid)


def make_slot(world: World, plugin: str = "pgoutput") -> None:
    world.sql(f"SELECT pg_create_logical_replication_slot('{slot_name(world)}', '{plugin}')")


def test_a_prepared_source_passes(world: World) -> None:
    prepared(world)
    make_slot(world)
    source = world.facts()
    assert world.report(source=source, stage=Stage.PREPARED).of("blocks") == ()


def test_an_enabled_subscription_blocks_on_either_side(world: World) -> None:
    world.sql(
        "CREATE SUBSCRIPTION \"Up stream\" CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p"
        " WITH (connect = false, slot_name = 's'); ALTER SUBSCRIPTION \"Up stream\" ENABLE"
    )
    given: dict[str, Any] = {"outputs": outputs(target=TARGET), "stage": Stage.RESTORED}
    found = world.findings("subscriptions", target=world.facts(side="target"), **given)
    assert [(f.side, f.severity) for f in found] == [("source", "blocks"), ("target", "blocks")]
    world.apply(found[0])
    disabled = world.finding("subscriptions")
    assert (disabled.severity, disabled.database) == ("warns", "shop")
    world.apply(disabled)
    assert world.findings("subscriptions") == ()


def test_our_own_subscriptions_are_no_finding(world: World) -> None:
    name = slot_name(world)
    world.sql(f"CREATE SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)")
    assert world.findings("subscriptions") == ()


def test_a_prepared_transaction_blocks_until_it_is_ended(world: World) -> None:
    world.sql("CREATE TABLE t (id int PRIMARY KEY)")
    world.sql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'it''s \\open'")
    finding = world.finding("prepared-transactions")
    assert (finding.severity, finding.database) == ("blocks", "shop")
    world.apply(finding)
    # Two-phase commit remains possible on these servers.
    assert world.finding("prepared-transactions").severity == "warns"


def test_active_jobs_of_pg_cron_block(world: World) -> None:
    world.sql("CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint PRIMARY KEY, active boolean);"
              "INSERT INTO cron.job VALUES (1, true), (2, false)")  # fmt: skip
    finding = world.finding("scheduled-jobs")
    assert finding.severity == "blocks"
    assert finding.found.startswith("1 active")
    world.apply(finding)
    assert world.findings("scheduled-jobs") == ()


def test_a_transaction_that_has_been_writing_for_long_warns_and_can_be_ended(world: World) -> None:
    with world.server.connect("shop", application_name="nightly") as writer:
        writer.execute("BEGIN; CREATE TABLE t (id int PRIMARY KEY)")
        source = world.facts()
        assert [s.application for s in source[WRITERS]] == ["nightly"]
        assert world.findings("long-transactions", source=source) == ()
        aged = replace(source, readings={**source.readings, WRITERS: (replace(source[WRITERS][0], seconds=3600),)})
        finding = world.finding("long-transactions", source=aged)
        assert finding.severity == "warns"
        assert "60 min" in finding.found
        world.apply(finding)
        writer.close()
    assert world.facts()[WRITERS] == ()


def test_slots_of_others_warn(world: World) -> None:
    world.sql("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    finding = world.finding("other-slots")
    assert finding.severity == "warns"
    assert "debezium (pgoutput in shop)" in finding.found


def test_leftovers_without_a_record_block_and_the_remedies_remove_them(world: World) -> None:
    make_slot(world)
    world.sql("CREATE PUBLICATION encryptdb_shop_prod FOR ALL TABLES")
    found = taken(world)
    assert [f.severity for f in found] == ["blocks", "blocks"]
    for finding in found:
        world.apply(finding)
    assert taken(world) == ()


def taken(world: World) -> tuple[Finding, ...]:
    """What has a name that we need."""
    return tuple(f for f in world.report().findings if f.check in ("other-attempt", "other-objects"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stack": "billing"}, "attempt 1 of the stack billing"),
        ({"attempt": 2}, "attempt 2 of the stack shop-prod"),
        ({"source_resource_id": "db-ELSE"}, "db-ELSE"),
    ],
)
def test_a_source_prepared_for_something_else_blocks(world: World, changes: dict[str, Any], words: str) -> None:
    prepared(world, **changes)
    finding = world.finding("other-attempt")
    assert finding.severity == "blocks"
    assert words in finding.found


def test_a_database_or_schema_of_that_name_that_is_not_ours_blocks(world: World) -> None:
    world.database(CONTROL_DATABASE)
    world.server.sql("CREATE TABLE keys (id int)", database=CONTROL_DATABASE)
    world.sql("CREATE SCHEMA encryptdb; CREATE TABLE encryptdb.keys (id int)")
    found = taken(world)
    assert [(f.severity, f.database) for f in found] == [("blocks", None), ("blocks", "shop")]
    for finding in found:
        world.apply(finding)
    assert taken(world) == ()


def test_a_slot_that_is_gone_or_lost_its_wal_blocks(world: World) -> None:
    prepared(world)
    assert world.finding("own-slots", stage=Stage.PREPARED).severity == "blocks"
    make_slot(world)
    source = world.facts()
    assert world.findings("own-slots", source=source, stage=Stage.PREPARED) == ()
    for status, severity in (("lost", "blocks"), ("unreserved", "warns")):
        found = replace(source.observed.slots[slot_name(world)], wal_status=status)
        changed = changed_on(source, slots={found.name: found})
        assert world.finding("own-slots", source=changed, stage=Stage.PREPARED).severity == severity


def test_a_target_that_is_no_copy_of_this_migration_blocks(world: World) -> None:
    prepared(world)
    source = world.facts()
    given: dict[str, Any] = {"source": source, "stage": Stage.RESTORED, "outputs": outputs(target=TARGET)}
    copy = replace(source, side="target")
    assert world.findings("own-copy", target=copy, **given) == ()
    other = replace(IDENTITY, started=IDENTITY.started + timedelta(days=1))
    for records in (Records(identity=other), Records(), None):
        finding = world.finding("own-copy", target=changed_on(copy, records=records), **given)
        assert finding.severity == "blocks"


def test_databases_that_do_not_move_are_told(world: World) -> None:
    world.database("closed")
    world.database("pattern")
    world.server.sql("ALTER DATABASE closed ALLOW_CONNECTIONS false; ALTER DATABASE pattern IS_TEMPLATE true")
    world.sql("ALTER DATABASE shop SET default_transaction_read_only = on")
    told, *others = world.findings("databases")
    assert (told.severity, "These databases move: shop. These do not:" in told.found) == ("ok", True)
    assert [f.severity for f in others] == ["warns"] * 3
    assert all(name in str(others) for name in ("database shop", "database closed", "database pattern"))
    for finding in others:
        world.apply(finding)
    assert [f.severity for f in world.findings("databases")] == ["ok"]
    assert world.report().databases == ("shop", "closed", "pattern")


def test_postgres_moves_only_if_something_of_the_owners_is_in_it(world: World) -> None:
    assert world.report().databases == ("shop",)
    world.server.sql("CREATE TABLE of_the_owner (id int PRIMARY KEY)")
    assert world.report().databases == ("postgres", "shop")
    world.server.sql("DROP TABLE of_the_owner")


def test_a_server_without_databases_blocks(world: World) -> None:
    world.server.sql("DROP DATABASE shop")
    assert world.finding("databases").severity == "blocks"


def test_a_database_made_after_prepare_blocks_and_a_closed_one_too(world: World) -> None:
    prepared(world)
    world.database("late")
    world.server.sql("ALTER DATABASE shop ALLOW_CONNECTIONS false")
    shop, late = (f for f in world.findings("databases", stage=Stage.PREPARED) if f.severity == "blocks")
    assert ("database shop does not accept connections" in shop.found, "database late" in late.found) == (True, True)
    world.apply(shop)
    assert world.facts().moving[0].readings


def test_an_audit_of_ddl_blocks_for_the_controllers_role_only(world: World) -> None:
    world.server.sql("ALTER DATABASE shop SET pgaudit.log = 'write, ddl'")
    finding = world.finding("statement-logs")
    assert (finding.severity, finding.database) == ("blocks", "shop")
    world.apply(finding)
    assert world.findings("statement-logs") == ()
    assert world.sql("SELECT current_setting('pgaudit.log')") == [("write, ddl",)]


@pytest.mark.parametrize(("classes", "blocks"), [("all", True), ("all, -ddl", False), ("read, write", False)])
def test_only_the_class_ddl_is_the_matter(world: World, classes: str, blocks: bool) -> None:
    world.server.sql(f"ALTER ROLE {CONTROLLER} SET pgaudit.log = '{classes}'")
    assert bool(world.findings("statement-logs")) == blocks


def test_after_open_the_source_is_not_judged_any_more(world: World) -> None:
    world.sql("CREATE TABLE t (a int)")
    world.sql("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    source = world.facts()
    target = changed_on(replace(source, side="target"), records=OPENED)
    facts: dict[str, Any] = {"source": source, "target": target, "stage": Stage.OPEN}
    assert {f.check for f in world.report(**facts).findings if f.side == "source"} == set()


def test_the_report_is_one_json_document(world: World) -> None:
    world.sql("CREATE TABLE t (a int)")
    document = json.loads(json.dumps(world.report().to_json()))
    assert document["blocks"] == 1
    assert document["databases"] == ["shop"]
    finding = next(f for f in document["findings"] if f["severity"] == "blocks")
    assert (finding["check"], finding["side"], finding["database"]) == ("replica-identity", "source", "shop")
    assert finding["id"] == "replica-identity:source:shop"
    assert finding["remedy"] == 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL;'
