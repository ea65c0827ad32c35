"""A copy that is not of this migration is refused, whatever it resembles, and nothing is changed on either server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.engines import hands
from tests.kit.commands import Ended, World, running

SLOTS = "SELECT slot_name, confirmed_flush_lsn::text, restart_lsn::text FROM pg_replication_slots ORDER BY 1"


@pytest.fixture(scope="module")
def made(engine: str) -> Iterator[tuple[World, dict[str, str]]]:
    """A source in its second attempt; snapshots from before it, of the first attempt, and of a twin that is prepared as
    well, with the same system identifier, databases and rows."""
    with running(engine) as world:
        by_hand = hands(world)
        source = world.source["identifier"]
        names = {"an older one": by_hand.take(source, "older")}
        world.ready("prepared")
        names["of the first attempt"] = by_hand.take(source, "first-attempt")
        assert world.controller("abandon").status == 0
        twin = World(world.directory, world.env, world.source, "twin-test")
        by_hand.restore("older", "twin")
        assert twin.up(source="twin", phase="prepare").status == 0
        assert twin.controller("prepare", "--allow-reboot").status == 0
        names["another source's"] = by_hand.take("twin", "of-the-twin")
        assert world.up(attempt=2, phase="prepare").status == 0
        assert world.controller("prepare", "--allow-reboot").status == 0
        yield world, names


@pytest.mark.parametrize("which", ["an older one", "of the first attempt", "another source's"])
def test_a_snapshot_that_is_not_of_this_migration_is_refused(
    made: tuple[World, dict[str, str]], which: str, tmp_path: Path
) -> None:
    world, names = made
    ended = replicate_to(world, names[which], world.outputs()["targetParameterGroup"], tmp_path)
    assert "not the copy of a snapshot of this migration" in ended.document["error"]["message"]


def test_a_copy_that_was_started_without_commit_timestamps_is_refused(
    made: tuple[World, dict[str, str]], tmp_path: Path
) -> None:
    """Its own snapshot, its own key, and a parameter group that lacks one parameter."""
    world, _ = made
    by_hand = hands(world)
    family = by_hand.default_group(world.source["identifier"]).removeprefix("default.")
    by_hand.make_group("forgetful", family, {"rds.logical_replication": "1", "track_commit_timestamp": "0"})
    snapshot = by_hand.take(world.source["identifier"], "of-this-attempt")
    ended = replicate_to(world, snapshot, "forgetful", tmp_path)
    error = ended.document["error"]
    assert "cannot be proved: the copy runs with track_commit_timestamp = off" in error["message"]
    assert "forgetful" in error["detail"] and "The source goes on serving" in error["detail"]
    assert "parameter-group-name forgetful --parameters ParameterName=track_commit_timestamp" in error["hint"]
    assert f"encryptdb abandon --stack {world.stack} && " in error["hint"] and "attempt=3" in error["hint"]
    with world.connect("orders") as db:
        db.execute("CREATE TABLE still_served ()")


def replicate_to(world: World, snapshot: str, group: str, tmp_path: Path) -> Ended:
    """Restore the snapshot with this parameter group and run `replicate`: refused, and neither server is changed."""
    outputs = world.outputs()
    outputs["phase"] = "restore"
    outputs["target"] = hands(world).restore(snapshot, f"{snapshot}-copy", outputs["kmsKeyArn"], group)
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(outputs))
    with world.connect("orders") as db:
        before = db.execute(SLOTS).fetchall()
        ended = world.end(world.command("controller", "replicate", "--outputs", str(path), "--json"))
        assert db.execute(SLOTS).fetchall() == before
    assert ended.status == 4, ended.told
    copy = World(world.directory, world.env, {**world.source, **outputs["target"]}, world.stack)
    with copy.connect("orders") as db:
        assert db.execute("SELECT count(*) FROM pg_subscription").fetchone() == (0,)
        assert db.execute("SELECT datallowconn FROM pg_database WHERE datname = 'orders'").fetchone() == (True,)
    return ended
