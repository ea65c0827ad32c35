"""The readers of a cluster: a real standby behind the target and one behind the source, described as Aurora would."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from encryptdb.controller.commands import cutover, rollback, status
from encryptdb.controller.cutover import readers
from encryptdb.controller.migration import Migration
from encryptdb.stacks.cloud.client import NotFound
from encryptdb.stacks.contract.errors import NotYet
from tests.cutover.rig import World, watched
from tests.kit.servers import Server, place
from tests.kit.waits import wait_for

READER_HOSTS = {"orders": "127.0.0.3", "copy": "127.0.0.2"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SEEN_SECONDS", 2.0)


@dataclass
class Clusters:
    """A world with a reader on each side, at an address of its own and the side's port."""

    world: World
    standbys: dict[str, Server]
    reader_status: str = "available"
    region: str = "eu-central-1"

    @contextmanager
    def migration(self, **options: Any) -> Iterator[Migration]:
        with self.world.migration(**options) as m:
            assert m.outputs.target is not None
            source, target = (
                replace(side, reader_host=READER_HOSTS[side.identifier])
                for side in (m.outputs.source, m.outputs.target)
            )
            outputs = replace(m.outputs, engine="aurora-postgresql", source=source, target=target)
            yield replace(m, outputs=outputs, aws=self)

    def on_reader(self, side: str, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(side, database) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, side: str, database: str, user: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(
            host=READER_HOSTS[side], port=self.standbys[side].port, user=user, dbname=database, autocommit=True
        )

    # What AWS says.

    def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        if operation == "get_parameter":
            raise NotFound("AWS knows no such thing.")
        assert operation == "describe_db_clusters", operation
        name = given["DBClusterIdentifier"]
        return {
            "DBClusters": [
                {
                    "DBClusterIdentifier": name,
                    "Status": "available",
                    "Engine": "aurora-postgresql",
                    "DBClusterMembers": [
                        {"DBInstanceIdentifier": f"{name}-1", "IsClusterWriter": True},
                        {"DBInstanceIdentifier": f"{name}-2", "IsClusterWriter": False},
                    ],
                }
            ]
        }

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
        assert operation == "describe_db_instances", operation
        (name,) = given["Filters"][0]["Values"]
        port = self.standbys[name].port
        yield instance(f"{name}-1", "127.0.0.1", port, "available")
        yield instance(f"{name}-2", READER_HOSTS[name], port, self.reader_status)


def instance(name: str, host: str, port: int, state: str) -> dict[str, Any]:
    return {"DBInstanceIdentifier": name, "DBInstanceStatus": state, "Endpoint": {"Address": host, "Port": port}}


def standby(primary: Server, where: Path, host: str) -> Server:
    """A streaming replica at the same port of another address."""
    made = primary.freeze_copy(where)
    for slot in (where / "pg_replslot").iterdir():
        shutil.rmtree(slot)
    (where / "standby.signal").touch()
    made.port = primary.port
    conninfo = f"host=127.0.0.1 port={primary.port} user=postgres"
    return made.start(listen_addresses=host, primary_conninfo=conninfo, hot_standby="on")


@pytest.fixture
def clusters(fresh: Callable[[], World], room: Path) -> Iterator[Clusters]:
    world = fresh()
    here = place(room, "standbys")
    here.mkdir()
    shutil.chown(here, "postgres" if here.owner() == "root" else here.owner())
    made: dict[str, Server] = {}
    try:
        for name, primary in (("orders", world.source), ("copy", world.target)):
            made[name] = standby(primary, here / name, READER_HOSTS[name])
        yield Clusters(world, made)
    finally:
        for server in made.values():
            server.stop("immediate")


def test_a_reader_that_is_behind_is_found_before_the_pause(clusters: Clusters) -> None:
    clusters.on_reader("copy", "SELECT pg_wal_replay_pause()")
    with clusters.migration() as m, pytest.raises(NotYet, match="readers of the target have not caught up"):
        cutover.run(m)
    assert clusters.world.writable(clusters.world.source)
    with clusters.migration(dry_run=True) as m, pytest.raises(NotYet):
        cutover.run(m)
    clusters.on_reader("copy", "SELECT pg_wal_replay_resume()")
    with clusters.migration(dry_run=True) as m:
        assert cutover.run(m)["dry_run"] is True


def test_a_reader_that_is_not_there_is_found_before_the_pause(clusters: Clusters) -> None:
    clusters.standbys["copy"].stop("immediate")
    with clusters.migration() as m, pytest.raises(NotYet):
        cutover.run(m)
    clusters.reader_status = "rebooting"
    with clusters.migration() as m, pytest.raises(NotYet, match="Not every reader of the target is available") as found:
        cutover.run(m)
    assert "copy-2 is rebooting" in (found.value.detail or "")
    assert clusters.world.writable(clusters.world.source)


def test_the_end_of_a_move_is_seen_through_both_endpoints_and_so_is_the_way_back(clusters: Clusters) -> None:
    with clusters.connect("orders", "app", user="app") as old, clusters.migration() as m:
        moved = cutover.run(m)
        assert moved["endpoints"] == {
            "writes": "127.0.0.1",
            "reads": {"copy-2": "127.0.0.2", "the reader endpoint": "127.0.0.2"},
        }
        # The fence is in the catalog, which the reader follows; who was there already stays.
        assert old.execute("SELECT 1").fetchall() == [(1,)]
        wait_for(lambda: turned_away(clusters, "orders"), "the reader to turn applications away")
        warned = " ".join(status.run(m)["warnings"])
        assert "the reader orders-2 of the source still has 1 sessions" in warned
    with clusters.migration() as m:
        assert not any("orders-2" in words for words in status.run(m)["warnings"])
        back = rollback.run(m)
        assert set(back["endpoints"]["reads"]) == {"orders-2", "the reader endpoint"}
    assert clusters.world.writable(clusters.world.source)


def turned_away(clusters: Clusters, side: str) -> bool:
    try:
        clusters.connect(side, "app", user="app").close()
    except psycopg.OperationalError as error:
        return "permission denied for database" in str(error)
    return False


def test_a_reader_that_stops_showing_leaves_the_move_to_be_completed(clusters: Clusters) -> None:
    def stop_reading(verb: str, moment: str) -> None:
        if (verb, moment) == ("open", "end"):
            clusters.on_reader("copy", "SELECT pg_wal_replay_pause()")

    with clusters.migration() as m, pytest.raises(Exception, match="open and serves, but the cutover is not complete"):
        cutover.run(watched(m, stop_reading))
    assert clusters.world.writable(clusters.world.target)
    clusters.on_reader("copy", "SELECT pg_wal_replay_resume()")
    with clusters.migration() as m:
        assert cutover.run(m)["endpoints"]["writes"] == "127.0.0.1"
