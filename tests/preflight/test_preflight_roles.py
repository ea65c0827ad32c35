"""What the controller's role may do: each right that is missing is found, and the remedy grants it."""

from collections.abc import Iterator

import pytest

from encryptdb.controller.preflight.facts import Stage
from tests.preflight.made import CONTROLLER
from tests.preflight.world import World

PLAIN = "plain role"


@pytest.fixture
def owned(world: World) -> Iterator[World]:
    """A database, tables and sequences that belong to others, and a role that may do nothing with them."""
    world.role("own er")
    world.role(PLAIN)
    world.sql(
        'ALTER DATABASE shop OWNER TO "own er";'
        'CREATE SCHEMA "Sales" AUTHORIZATION "own er"; SET ROLE "own er";'
        'CREATE TABLE "Sales"."Order" (id int PRIMARY KEY);'
        'CREATE SEQUENCE "Sales"."Number";'
        'CREATE TABLE "Sales".hidden (id int PRIMARY KEY); ALTER TABLE "Sales".hidden ENABLE ROW LEVEL SECURITY;'
        'ALTER TABLE "Sales".hidden FORCE ROW LEVEL SECURITY;'
        "RESET ROLE; CREATE TABLE of_the_superuser (id int PRIMARY KEY)"
    )
    yield world
    world.sql(f'ALTER DATABASE shop OWNER TO postgres; DROP OWNED BY "own er"; DROP OWNED BY "{PLAIN}"')


LACKING = {
    "monitoring",
    "replication",
    "replication-role",
    "create-database",
    "schema",
    "publish",
    "subscribe",
    "origins",
    "database-owner",
    "table-rights",
    "sequence-rights",
    "row-security",
}


def test_every_missing_right_is_found_at_once(owned: World) -> None:
    report = owned.report(PLAIN)
    assert {f.check for f in report.of("blocks")} == LACKING
    assert all(f.remedy and "plain role" in f.remedy for f in report.of("blocks"))


def test_each_remedy_cures_its_own_finding(owned: World) -> None:
    """One after the other, the one that makes a superuser last: it would hide all others."""
    order = sorted(LACKING, key=lambda name: (name in ("replication-role", "subscribe", "publish"), name))
    for check in order:
        for finding in owned.findings(check, PLAIN):
            owned.apply(finding)
        assert owned.findings(check, PLAIN) == (), check
    assert owned.report(PLAIN).of("blocks") == ()


def test_asking_changes_nothing(owned: World) -> None:
    """Privileges are probed by doing, and what was done is rolled back."""
    look = """SELECT (SELECT array_agg(rolname ORDER BY 1) FROM pg_roles), (SELECT count(*) FROM pg_namespace),
                     (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_subscription),
                     (SELECT count(*) FROM pg_replication_origin), (SELECT count(*) FROM pg_auth_members)"""
    before = owned.sql(look)
    owned.report()
    owned.report(PLAIN)
    assert owned.sql(look) == before


def test_asking_does_not_wait_for_a_writer_nor_make_one_wait(world: World) -> None:
    world.sql("CREATE TABLE t (id int PRIMARY KEY)")
    with world.server.connect("shop") as writer:
        writer.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (1)")
        assert world.report().of("blocks") == ()


def test_applications_that_use_the_controllers_role_warn(world: World) -> None:
    with world.server.connect("shop", user=CONTROLLER, application_name="the shop"):
        finding = world.finding("own-role")
    assert finding.severity == "warns"
    assert "the shop in shop" in finding.found
    assert world.findings("own-role") == ()


def test_a_role_that_may_not_connect_to_a_database_blocks_and_the_rest_is_still_reported(owned: World) -> None:
    owned.sql("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    report = owned.report(PLAIN)
    found = [f for f in report.of("blocks") if f.check == "readable"]
    assert ["shop" in f.found for f in found] == [True]
    assert "monitoring" in {f.check for f in report.findings}
    assert {"replica-identity", "table-rights"} <= set(report.unavailable)
    owned.apply(found[0])
    assert owned.findings("readable", PLAIN) == ()


def test_tables_of_extensions_only_warn(owned: World) -> None:
    owned.sql("CREATE TABLE of_extension (id int PRIMARY KEY); ALTER EXTENSION plpgsql ADD TABLE of_extension")
    found = owned.findings("table-rights", PLAIN)
    assert [("of_extension" in f.found, f.severity) for f in found] == [(False, "blocks"), (True, "warns")]
    owned.sql("ALTER EXTENSION plpgsql DROP TABLE of_extension")


def test_what_is_made_already_needs_no_right_to_make_it(owned: World) -> None:
    owned.sql(
        "CREATE PUBLICATION encryptdb_shop_prod FOR ALL TABLES; CREATE SCHEMA encryptdb;"
        f'CREATE TABLE encryptdb.heartbeat (id int PRIMARY KEY); GRANT USAGE ON SCHEMA encryptdb TO "{PLAIN}"'
    )
    names = {f.check for f in owned.report(PLAIN, stage=Stage.PREPARED).of("blocks")}
    assert names.isdisjoint({"publish", "schema"})


def test_the_target_is_asked_too(owned: World) -> None:
    target = owned.facts(PLAIN, side="target")
    sides = {
        f.side for f in owned.report(target=target, stage=Stage.RESTORED).of("blocks") if f.check == "table-rights"
    }
    assert sides == {"target"}
