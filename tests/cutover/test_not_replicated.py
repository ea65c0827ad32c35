"""What replication does not carry: large objects, materialized views, definitions. Seen before it is too late."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from encryptdb.controller.commands import cutover, rollback, status
from encryptdb.controller.cutover import definitions
from encryptdb.controller.document import document, standing
from encryptdb.controller.observe import observe
from encryptdb.stacks.contract.errors import Refused
from tests.cutover.rig import World, watched
from tests.cutover.test_checks import refusal
from tests.kit.servers import Server
from tests.kit.waits import wait_for


def write(server: Server, statements: str) -> None:
    """As a superuser, in a database that is closed to all others."""
    server.sql(f"BEGIN READ WRITE; {statements}; COMMIT", database="app")


@pytest.fixture
def large_object(world: World) -> Iterator[int]:
    """One that both sides have, as the snapshot would have brought it."""
    made = 4242
    for server in (world.source, world.target):
        write(server, f"SELECT lo_from_bytea({made}, 'as in the snapshot')")
        write(server, f"ALTER LARGE OBJECT {made} OWNER TO app_owner")
    yield made
    for server in (world.source, world.target):
        write(server, "SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def test_a_large_object_that_did_not_change_is_no_reason(world: World, large_object: int) -> None:
    with world.migration(dry_run=True) as m:
        assert cutover.run(m)["dry_run"] is True


def test_a_large_object_that_changed(world: World, large_object: int) -> None:
    world.source.sql("SELECT lo_put(%s, 3, 'otherwise')", [large_object], "app")
    assert "app: contents differ" in refusal(world, Refused)


def test_a_large_object_that_was_made_after_the_snapshot(world: World, large_object: int) -> None:
    world.source.sql("SELECT lo_from_bytea(0, 'new')", database="app")
    assert "app: 1 only on the source, 0 only on the target" in refusal(world, Refused)


def test_a_large_object_that_may_not_be_read_counts_as_changed(world: World, large_object: int) -> None:
    if world.source.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'master'") == [(True,)]:
        # A superuser may read all there is: below 16 the master of these servers is one, so it is compared.
        world.source.sql(f"ALTER LARGE OBJECT {large_object} OWNER TO app", database="app")
        with world.migration(dry_run=True) as m:
            assert cutover.run(m)["dry_run"] is True
        return
    world.source.sql(f"ALTER LARGE OBJECT {large_object} OWNER TO app", database="app")
    assert "the contents of its 1 cannot be compared" in refusal(world, Refused)


def test_a_large_object_written_in_the_last_moment_breaks_the_move_off(
    fresh: Callable[[], World],
) -> None:
    world = fresh()

    def writes(verb: str, moment: str) -> None:
        if (verb, moment) == ("watchdog", "begin"):
            world.source.sql("SELECT lo_from_bytea(0, 'too late')", database="app")

    with (
        world.migration() as m,
        pytest.raises(Refused, match="Large objects were written on the source during"),
    ):
        cutover.run(watched(m, writes))
    assert world.writable(world.source)


def test_an_enum_label_that_one_side_lacks(world: World) -> None:
    world.source.sql("CREATE TYPE mood AS ENUM ('good')", database="app")
    try:
        assert "app: enum public.mood (only on the source)" in refusal(world, Refused)
    finally:
        world.source.sql("DROP TYPE mood", database="app")


def test_the_order_of_kinds_and_names_is_told_in_words() -> None:
    here = {("table", "a"): "x", ("view", "v"): "1", ("enum", "e"): None}
    there = {("table", "a"): "y", ("view", "v"): "1", ("function", "f()"): ""}
    assert list(definitions.compare(here, there, "target", "source")) == [
        "enum e (only on the target)",
        "function f() (only on the source)",
        "a (columns differ)",
    ]
    assert list(definitions.compare(here, here, "target", "source")) == []


VIEWS = """
CREATE MATERIALIZED VIEW "Quiet one" AS SELECT count(*) AS n FROM owned;
CREATE VIEW between AS SELECT * FROM ledger;
CREATE MATERIALIZED VIEW busy AS SELECT count(*) AS n FROM between;
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 WITH NO DATA;
"""


def test_views_are_refreshed_and_those_that_went_stale_named_and_what_makes_the_way_back_lossy_refuses_it(
    fresh: Callable[[], World],
) -> None:
    world = fresh()
    for server in (world.source, world.target):
        write(server, "GRANT SELECT ON owned, ledger TO app_owner; SET LOCAL ROLE app_owner;" + VIEWS)
    world.source.sql("INSERT INTO owned DEFAULT VALUES", database="app")

    def writes(verb: str, moment: str) -> None:
        if (verb, moment) == ("watchdog", "begin"):
            world.source.sql("INSERT INTO ledger (who, n) VALUES ('in the last moment', 1)", database="app")

    with world.migration() as m:
        there = cutover.run(watched(m, writes))
    assert there["stale_views"] == ["app: public.busy"]
    assert world.target.sql('SELECT n FROM "Quiet one"', database="app") == [(1,)]

    def told() -> dict[str, Any]:
        with world.migration() as m:
            observed = observe(m)
            return status.health(m, observed, standing(m, observed))

    whole = told()["rollback_path"]
    assert whole["lossy"] == [] and whole["open"] is True and whole["until"]
    world.target.sql("CREATE TABLE made_since (id int); CREATE VIEW seen AS SELECT 1", database="app")
    world.target.sql("SELECT lo_from_bytea(0, 'new')", database="app")
    found = told()
    assert found["rollback_path"]["open"] is False
    for part in ("public.made_since (only on the target)", "view public.seen (only on the target)", "a large object"):
        assert any(part in words for words in found["rollback_path"]["lossy"])
        assert any(part in warning for warning in found["warnings"])
    with (
        world.migration() as m,
        pytest.raises(Refused, match=r"The definitions of source and target differ\.") as refused,
    ):
        rollback.run(m)
    assert "app: public.made_since (only on the target)" in (refused.value.detail or "")
    assert "app: 1 only on the target" in (refused.value.detail or "")

    world.target.sql("DROP TABLE made_since; DROP VIEW seen; SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
                     database="app")  # fmt: skip
    with world.migration() as m:
        assert rollback.run(m)["serving"] == "source"
    assert told()["rollback_path"] == {"open": False, "until": None, "lossy": []}


def test_status_reads_the_lag_of_the_direction_that_runs(fresh: Callable[[], World]) -> None:
    world = fresh()
    with world.migration() as m:
        cutover.run(m)
        back = m.names.back_slot(world.target.sql("SELECT oid::int FROM pg_database WHERE datname = 'app'")[0][0])

    def look() -> dict[str, Any]:
        with world.migration() as m:
            observed = observe(m)
            return document(m, observed) | status.health(m, observed, standing(m, observed))

    wait_for(lambda: set(look()["slots"]) >= {back} and look()["lag_bytes"] == 0, "the source to have followed")
    assert look()["lag_seconds"] == 0
    world.source.stop("immediate")
    world.target.sql("INSERT INTO ledger (who, n) SELECT 'later', i FROM generate_series(1, 1000) i", database="app")
    behind = look()
    assert behind["state"] == "open"
    assert behind["lag_bytes"] > 0 and behind["databases"]["app"]["lag_bytes"] > 0
    assert behind["lag_seconds"] is None
    assert behind["rollback_path"]["open"] is False
