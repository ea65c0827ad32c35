"""What is in the databases: each bad table is found, and its remedy, pasted as it is printed, cures it."""

from dataclasses import replace

import pytest
from psycopg import errors, sql

from encryptdb.controller.preflight.checks.tables import TABLES
from encryptdb.controller.preflight.facts import Stage
from tests.preflight.made import TARGET, changed_inside, outputs
from tests.preflight.world import World

NO_IDENTITY = {
    "no key": "CREATE TABLE t (a int, b text)",
    "names that need quoting": 'CREATE SCHEMA "Odd ""s"; CREATE TABLE "Odd ""s"."T;--" ("A b" int)',
    "a deferrable key": "CREATE TABLE t (a int PRIMARY KEY DEFERRABLE, b text)",
    "a unique index that could serve": "CREATE TABLE t (a int NOT NULL UNIQUE, b json)",
    "a unique index over a column that may be null": "CREATE TABLE t (a int UNIQUE, b text)",
    "a partial unique index": "CREATE TABLE t (a int NOT NULL, b text); CREATE UNIQUE INDEX ON t (a) WHERE a > 0",
    "a column that cannot be compared": "CREATE TABLE t (a int, b json)",
    "a column of a domain that cannot be compared": "CREATE DOMAIN d AS xml; CREATE TABLE t (a int, b d)",
    "a deferrable key and a column that cannot be compared": (
        "CREATE TABLE t (a int PRIMARY KEY DEFERRABLE, b point[])"
    ),
    "identity nothing": "CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING",
    "a dropped identity index": (
        "CREATE TABLE t (a int NOT NULL); CREATE UNIQUE INDEX i ON t (a);"
        "ALTER TABLE t REPLICA IDENTITY USING INDEX i; DROP INDEX i"
    ),
    "generated columns": "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED)",
    "a partition without a key": (
        "CREATE TABLE p (a int, b text) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)"
    ),
}


def test_tables_whose_update_would_fail_block_and_the_remedies_cure_them(world: World) -> None:
    """The verdict is the server's own: published for real, exactly the tables that preflight named refuse an UPDATE,
    and after the remedies, pasted as printed, none does."""
    for number, statements in enumerate(NO_IDENTITY.values()):
        world.sql(f"CREATE SCHEMA s{number}; SET search_path = s{number}; {statements}")
    world.sql(
        "CREATE TABLE fine_key (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED);"
        "CREATE TABLE fine_full (a int, b text); ALTER TABLE fine_full REPLICA IDENTITY FULL;"
        "CREATE TABLE fine_index (a int NOT NULL UNIQUE);"
        "ALTER TABLE fine_index REPLICA IDENTITY USING INDEX fine_index_a_key;"
        "CREATE UNLOGGED TABLE fine_unlogged (a int); CREATE TABLE fine_root (a int) PARTITION BY LIST (a)"
    )
    failing = updates_that_fail(world)
    finding = world.finding("replica-identity")
    assert (finding.severity, finding.database) == ("blocks", "shop")
    assert len(failing) == len(NO_IDENTITY)
    assert {table for table in failing if f"ALTER TABLE {table} " not in (finding.remedy or "")} == set()
    assert "fine" not in (finding.remedy or "")
    world.apply(finding)
    assert updates_that_fail(world) == set()
    assert {"replica-identity", "full-identity", "generated-identity"} <= set(world.report().passed)


def test_once_published_the_finding_says_that_updates_fail_now(world: World) -> None:
    world.sql("CREATE TABLE t (a int); CREATE PUBLICATION encryptdb_shop_prod FOR ALL TABLES")
    assert "fail NOW" in world.finding("replica-identity").needed


def test_full_identity_with_generated_columns_blocks_where_the_server_refuses_it(world: World) -> None:
    """From 18 the source itself refuses the UPDATE; before, generated columns are left out of the comparison."""
    world.sql(
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED); ALTER TABLE t REPLICA IDENTITY FULL;"
        "CREATE TABLE k (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED);"
        "ALTER TABLE k REPLICA IDENTITY FULL"
    )
    refused = {'"public"."t"', '"public"."k"'} if world.major >= 18 else set()
    assert updates_that_fail(world) == refused
    found = world.findings("full-identity")
    assert [f.severity for f in found] == ["blocks"] * (world.major >= 18)
    for finding in found:
        world.apply(finding)
    assert updates_that_fail(world) == set()


def updates_that_fail(world: World) -> set[str]:
    """The tables that refuse an UPDATE once all tables are published."""
    world.sql("CREATE PUBLICATION probe FOR ALL TABLES")
    tables = world.sql(
        """SELECT n.nspname, c.relname, (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = 1)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND c.oid >= 16384 AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'
        """
    )
    failed = set()
    for schema, table, column in tables:
        name = sql.Identifier(schema, table).as_string(None)
        try:
            world.sql(f"UPDATE {name} SET {sql.Identifier(column).as_string(None)} = NULL WHERE false")
        except (errors.ObjectNotInPrerequisiteState, errors.InvalidColumnReference):
            failed.add(name)
    world.sql("DROP PUBLICATION probe")
    return failed


def test_a_key_of_a_generated_column_blocks(world: World) -> None:
    world.sql("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)")
    finding = world.finding("generated-identity")
    assert finding.severity == "blocks"
    world.apply(finding)
    assert {"replica-identity", "full-identity", "generated-identity"} <= set(world.report().passed)


@pytest.mark.parametrize("key", ["", "PRIMARY KEY"])
def test_full_identity_with_a_column_that_cannot_be_compared_blocks_unless_there_is_a_key(
    world: World, key: str
) -> None:
    world.sql(f"CREATE TABLE t (a int {key}, b json); ALTER TABLE t REPLICA IDENTITY FULL")
    found = world.findings("full-identity")
    assert [f.severity for f in found] == ([] if key else ["blocks"])
    for finding in found:
        world.apply(finding)
    assert world.findings("full-identity") == ()


def test_a_large_changing_table_with_full_identity_and_no_key_warns(world: World) -> None:
    world.sql("CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL")
    source = world.facts()
    big = replace(source.moving[0][TABLES][0], bytes=1 << 30, writes=1)
    changed = changed_inside(source, {TABLES: (big,)})
    finding = world.finding("full-identity", source=changed)
    assert finding.severity == "warns"
    world.apply(finding)
    assert world.facts().moving[0][TABLES][0].keyed


@pytest.mark.parametrize(("state", "cure"), [("ALWAYS", "ENABLE TRIGGER"), ("REPLICA", "DISABLE TRIGGER")])
def test_a_trigger_that_fires_on_replicated_changes_blocks(world: World, state: str, cure: str) -> None:
    world.sql(
        "CREATE TABLE t (a int PRIMARY KEY);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        'CREATE TRIGGER "the one" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();'
        "CREATE TRIGGER ordinary AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
        f'ALTER TABLE t ENABLE {state} TRIGGER "the one"'
    )
    finding = world.finding("apply-triggers")
    assert finding.severity == "blocks"
    assert cure in (finding.remedy or "")
    assert "ordinary" not in finding.found
    world.apply(finding)
    assert world.findings("apply-triggers") == ()


def test_an_event_trigger_that_acts_in_replication_warns(world: World) -> None:
    world.sql(
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f(); ALTER EVENT TRIGGER e ENABLE ALWAYS"
    )
    finding = world.finding("event-triggers")
    assert finding.severity == "warns"
    world.apply(finding)
    assert world.findings("event-triggers") == ()


def test_an_event_trigger_that_refuses_our_statements_is_told_apart_from_a_missing_privilege(world: World) -> None:
    world.sql(
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''frozen until May''; END';"
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()"
    )
    finding = world.finding("publish")
    assert finding.severity == "blocks"
    assert "frozen until May" in finding.found
    assert "event trigger" in (finding.remedy or "")


def test_an_unlogged_table_warns(world: World) -> None:
    world.sql("CREATE UNLOGGED TABLE cache (a int PRIMARY KEY)")
    finding = world.finding("unlogged-tables")
    assert finding.severity == "warns"
    world.apply(finding)
    assert world.findings("unlogged-tables") == ()


def test_a_materialized_view_warns_with_its_refresh(world: World) -> None:
    world.sql('CREATE MATERIALIZED VIEW "Sums" AS SELECT 1 AS n')
    finding = world.finding("materialized-views")
    assert finding.severity == "warns"
    world.apply(finding)


def test_a_foreign_table_warns(world: World) -> None:
    world.sql(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (a int) SERVER s"
    )
    assert world.finding("foreign-tables").severity == "warns"


def test_large_objects_warn_and_block_once_the_copy_differs(world: World) -> None:
    world.sql("SELECT lo_create(0)")
    assert world.finding("large-objects").severity == "warns"
    copy = world.facts(side="target")
    assert (
        world.finding("large-objects", target=copy, outputs=outputs(target=TARGET), stage=Stage.RESTORED).severity
        == "warns"
    )
    world.sql("SELECT lo_create(0)")
    assert (
        world.finding("large-objects", target=copy, outputs=outputs(target=TARGET), stage=Stage.RESTORED).severity
        == "blocks"
    )


def test_a_table_made_or_changed_after_the_snapshot_blocks(world: World) -> None:
    world.sql("CREATE TABLE kept (a int PRIMARY KEY); CREATE TABLE altered (a int PRIMARY KEY)")
    copy = world.facts(side="target")
    assert world.findings("same-tables", target=copy, outputs=outputs(target=TARGET), stage=Stage.RESTORED) == ()
    world.sql("CREATE TABLE late (a int PRIMARY KEY); ALTER TABLE altered ADD COLUMN b int")
    found = world.findings("same-tables", target=copy, outputs=outputs(target=TARGET), stage=Stage.RESTORED)
    assert [(f.severity, "late" in f.found, "altered" in f.found) for f in found] == [
        ("blocks", True, False),
        ("blocks", False, True),
    ]
