"""The whole way by hand, as the README tells it: `lab up`, the controller's commands, our own tables and writers."""

from typing import Any

import psycopg
import pytest

from tests.acceptance.engines import hands
from tests.kit.commands import Ended, World, Writer, ledger
from tests.kit.waits import wait_for

STATIONS = {"prepare": "prepared", "replicate": "caught-up", "cutover": "open", "retire": "retired"}


def twice(world: World, command: str, *options: str) -> Ended:
    """Run a command, then again: the second time ends the same way."""
    first = world.controller(command, *options)
    assert first.status == 0, first.told
    second = world.controller(command, *options)
    assert second.status == 0, second.told
    assert second.document["state"] == first.document["state"]
    if command in STATIONS:
        assert first.document["state"] == STATIONS[command]
    assert set(first.document["databases"]) == set(world.source["databases"])
    return first


def test_an_unencrypted_server_becomes_an_encrypted_one_under_load(world: World) -> None:
    databases = world.source["databases"]
    writers = [Writer(world, database, number) for number, database in enumerate(databases)]
    for writer in writers:
        writer.start()

    assert world.up(source=world.source["identifier"], phase="prepare").status == 0
    assert world.up().document["unchanged"] > 0
    refused = world.controller("prepare")
    assert refused.status == 3, refused.told
    assert "--allow-reboot" in refused.told
    twice(world, "prepare", "--allow-reboot")
    assert world.up(phase="restore").status == 0
    joined = twice(world, "replicate")
    assert joined.document["lsn"]["proof"]["last_included"]
    assert joined.document["lsn"]["candidates"]
    assert world.controller("status").document["state"] == "caught-up"
    compared = twice(world, "verify")
    assert compared.document["equal"] is True
    again = world.up()
    assert (again.document["created"], again.document["updated"], again.document["deleted"]) == ([], [], [])

    moved = world.controller("cutover")
    assert moved.status == 0, moved.told
    assert moved.document["state"] == "open"
    assert moved.document["pause_ms"] > 0
    assert set(moved.document["end_lsns"]) == set(databases)
    for writer in writers:
        writer.side = "target"
    repeated = world.controller("cutover")
    assert repeated.status == 0, repeated.told
    assert repeated.document["end_lsns"] == moved.document["end_lsns"]
    for writer in writers:
        writer.stop()

    for writer in writers:
        assert ledger(world, writer.database, "target") == {writer.number: writer.written}
        assert refuses_writes(world, writer.database)

    early = world.controller("adopt")
    assert early.status == 3, early.told
    assert "retire" in early.document["error"]["hint"]
    ended = twice(world, "retire", "--end-rollback-window")
    assert any(item["kind"] == hands(world).leftover for item in ended.document["leftovers"])
    for side in ("source", "target"):
        with world.connect("postgres", side) as connection:
            assert connection.execute("SELECT 1 FROM pg_database WHERE datname = 'encryptdb'").fetchall() == []
            assert connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
            assert connection.execute("SELECT subname FROM pg_subscription").fetchall() == []
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE 'encryptdb%'").fetchall() == []
    for database in databases:
        with world.connect(database, "target") as connection:
            connection.execute("INSERT INTO ledger (writer, n) VALUES (99, 1)")
        assert refuses_writes(world, database)

    wrong = world.controller("retire", "--delete-source", world.outputs()["target"]["identifier"])
    assert wrong.status == 2, wrong.told
    deleted = world.controller("retire", "--delete-source", world.source["identifier"])
    assert deleted.status == 0, deleted.told
    assert deleted.document["deleted"] == world.source["identifier"]
    wait_for(lambda: hands(world).is_gone(world.source["identifier"]), "the source to be gone")
    ended = twice(world, "retire", "--delete-source", world.source["identifier"])
    assert not any(item["kind"] == hands(world).leftover for item in ended.document["leftovers"])
    assert world.up(phase="retire").status == 0
    assert world.outputs()["target"]["host"]
    assert world.controller("retire").document["state"] == "retired"
    assert world.controller("status").document["state"] == "retired"
    adopted = twice(world, "adopt")
    assert adopted.document["source_gone"] is True
    assert adopted.document["target"][0] == world.outputs()["target"]["identifier"]
    assert f'"id": "{adopted.document["target"][0]}"' in adopted.document["import_file"]


def refuses_writes(world: World, database: str) -> bool:
    try:
        with world.connect(database) as connection:
            connection.execute("INSERT INTO ledger (writer, n) VALUES (98, 1)")
    except psycopg.Error:
        return True
    return False


SOURCE_SQL = {
    "databases": """SELECT datname, pg_get_userbyid(datdba), datallowconn, datconnlimit,
                           (SELECT array_agg(a::text ORDER BY a::text)
                              FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a)
                      FROM pg_database ORDER BY 1""",
    "roles": "SELECT rolname, rolsuper, rolcanlogin, rolreplication, rolconfig FROM pg_roles ORDER BY 1",
    "settings of databases and roles": "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2",
    "slots": "SELECT slot_name FROM pg_replication_slots ORDER BY 1",
    "subscriptions": "SELECT subname FROM pg_subscription ORDER BY 1",
    "settings": """SELECT name, setting FROM pg_settings
                    WHERE name IN ('wal_level', 'track_commit_timestamp', 'max_replication_slots') ORDER BY 1""",
}

DATABASE_SQL = {
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1",
    "relations": """SELECT relnamespace::regnamespace::text, relname, relkind, relreplident, relacl::text FROM pg_class
                     WHERE relnamespace::regnamespace::text NOT LIKE 'pg\\_%' ORDER BY 1, 2""",
    "publications": "SELECT pubname FROM pg_publication ORDER BY 1",
}


def as_it_is(world: World) -> dict[str, Any]:
    """Everything about the source that a migration might change."""
    found: dict[str, Any] = {}
    with world.connect("postgres") as connection:
        found |= {what: connection.execute(query).fetchall() for what, query in SOURCE_SQL.items()}
    for database in world.source["databases"]:
        with world.connect(database) as connection:
            found |= {(database, what): connection.execute(query).fetchall() for what, query in DATABASE_SQL.items()}
    return found


def test_abandon_leaves_the_source_as_it_was_and_a_second_attempt_goes_to_the_end(world: World) -> None:
    before = as_it_is(world)
    world.ready("caught-up")
    assert as_it_is(world) != before
    twice(world, "abandon", "--allow-reboot")
    assert as_it_is(world) == before
    assert world.controller("status").document["state"] == "abandoned"
    for command in ("replicate", "cutover", "retire", "prepare", "adopt"):
        assert world.controller(command).status == 4
    assert as_it_is(world) == before

    assert world.up(attempt=2, phase="prepare").status == 0
    assert world.controller("prepare", "--allow-reboot").status == 0
    assert world.up(phase="restore").status == 0
    assert world.controller("replicate").status == 0
    assert world.controller("verify").document["equal"] is True
    moved = world.controller("cutover")
    assert moved.status == 0, moved.told
    assert moved.document["attempt"] == 2
    ended = world.controller("retire", "--end-rollback-window")
    assert ended.status == 0, ended.told


@pytest.mark.parametrize("unknown", ["nobody", "orders-test2"])
def test_an_unknown_stack(world: World, unknown: str) -> None:
    ended = world.end(world.command("controller", "status", "--stack", unknown, "--json"))
    assert ended.status == 2
    assert ended.document["error"]["hint"]
