"""A copy that is not of this migration is refused, whatever it resembles, and nothing is changed on either server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.world import World, fill, make_directory, make_world, stop_world, wait

SLOTS = "SELECT slot_name, confirmed_flush_lsn::text, restart_lsn::text FROM pg_replication_slots ORDER BY 1"


@dataclass
class Snapshots:
    """Snapshots of one source and of its twin, made by hand through the RDS API."""

    world: World

    @property
    def rds(self) -> Any:
        return self.world.aws("rds")

    def take(self, instance: str, name: str) -> str:
        self.rds.create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=name)
        wait(
            lambda: self.rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["Status"] == "available"
        )
        return name

    def restore(self, snapshot: str, instance: str, **given: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_there() -> bool:
            found.update(self.rds.describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0])
            return bool(found["DBInstanceStatus"] == "available")

        self.rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=instance, DBSnapshotIdentifier=snapshot, **given
        )
        wait(is_there)
        return found

    def encrypted_copy(self, snapshot: str, outputs: dict[str, Any]) -> dict[str, Any]:
        """What the stack would have made of this snapshot: the side `target` of its outputs."""
        sealed = f"{snapshot}-sealed"
        key = outputs["kmsKeyArn"]
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier=snapshot, TargetDBSnapshotIdentifier=sealed, KmsKeyId=key)
        state = lambda: self.rds.describe_db_snapshots(DBSnapshotIdentifier=sealed)["DBSnapshots"][0]["Status"]  # noqa: E731
        wait(lambda: bool(state() == "available"))
        found = self.restore(sealed, f"{snapshot}-copy", DBParameterGroupName=outputs["targetParameterGroup"])
        return {
            "identifier": found["DBInstanceIdentifier"],
            "resourceId": found["DbiResourceId"],
            "host": found["Endpoint"]["Address"],
            "port": found["Endpoint"]["Port"],
        }


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[World, dict[str, str]]]:
    """A source in its second attempt; snapshots from before it, of the first attempt, and of a twin that is prepared as
    well, with the same system identifier, databases and rows."""
    directory = make_directory()
    world = make_world(directory / "lab", ["orders"], "orders-test")
    try:
        fill(world, "orders")
        snapshots = Snapshots(world)
        source = world.source["identifier"]
        names = {"an older one": snapshots.take(source, "older")}
        world.ready("prepared")
        names["of the first attempt"] = snapshots.take(source, "first-attempt")
        assert world.controller("abandon").status == 0
        twin = World(world.directory, world.env, world.source, "twin-test")
        snapshots.restore("older", "twin")
        assert twin.up(source="twin", phase="prepare").status == 0
        assert twin.controller("prepare", "--allow-reboot").status == 0
        names["another source's"] = snapshots.take("twin", "of-the-twin")
        assert world.up(attempt=2, phase="prepare").status == 0
        assert world.controller("prepare", "--allow-reboot").status == 0
        yield world, names
    finally:
        stop_world(directory / "lab")


@pytest.mark.parametrize("which", ["an older one", "of the first attempt", "another source's"])
def test_a_snapshot_that_is_not_of_this_migration_is_refused(
    made: tuple[World, dict[str, str]], which: str, tmp_path: Path
) -> None:
    world, names = made
    outputs = world.outputs()
    outputs["phase"] = "restore"
    outputs["target"] = Snapshots(world).encrypted_copy(names[which], outputs)
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(outputs))
    with world.connect("orders") as db:
        before = db.execute(SLOTS).fetchall()
        ended = world.end(world.command("controller", "replicate", "--outputs", str(path), "--json"))
        assert db.execute(SLOTS).fetchall() == before
    assert ended.status == 4, ended.told
    assert "not the copy of a snapshot of this migration" in ended.document["error"]["message"]
    copy = World(world.directory, world.env, {**world.source, **outputs["target"]}, world.stack)
    with copy.connect("orders") as db:
        assert db.execute("SELECT count(*) FROM pg_subscription").fetchone() == (0,)
        assert db.execute("SELECT datallowconn FROM pg_database WHERE datname = 'orders'").fetchone() == (True,)
