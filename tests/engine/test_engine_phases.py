"""From nothing to a target alone, on both engines: what is declared when, and that nothing is touched without need."""

from collections.abc import Callable
from typing import Any

import boto3

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine.conftest import World
from tests.engine.engines import Real, Stack

PREPARED = ["link-to-source", "source-parameters", "target-parameters"]
SETTINGS: list[tuple[dict[str, Any], list[str]]] = [
    ({"rollbackWindow": "2d"}, []),
    ({"instanceClass": "db.t4g.large"}, ["target-1"]),
    ({"multiAz": "true"}, ["target-1"]),
]
RESTORED = ["encrypted-snapshot-1", "snapshot-1", "target-1"]


def test_every_phase_and_each_again(world: World, stack: Callable[[str], Stack]) -> None:
    one = stack("phases")
    assert one.up(source="orders-prod", targetIdentifier=f"{one.name}-1").succeed().created == PREPARED
    one.up().changed_nothing()

    early = one.up(phase="restore")
    assert early.status != 0
    assert f"encryptdb prepare --stack {one.name}" in early.text
    assert early.touched == []

    world.prepared(one.name)
    made = one.up().succeed()
    assert made.created == RESTORED
    outputs = Outputs.from_json(made.outputs)
    assert outputs.target
    assert outputs.target.host == world.instance(f"{one.name}-1")["Endpoint"]["Address"]
    assert world.instance(f"{one.name}-1")["KmsKeyId"] == outputs.kms_key_arn
    one.up().changed_nothing()

    back = one.up(phase="prepare")
    assert back.status != 0
    assert "encryptdb:phase: prepare would go back" in back.text
    assert back.touched == []

    soon = one.up(phase="retire")
    assert soon.status != 0
    assert "encryptdb retire" in soon.text
    assert soon.touched == []

    world.not_prepared(one.name)
    assert one.up().succeed().deleted == ["encrypted-snapshot-1", "link-to-source", "snapshot-1"]
    one.up().changed_nothing()
    assert world.made_for(one.name) == [f"{one.name}-1"]


def test_a_phase_that_is_left_out_is_refused(stack: Callable[[str], Stack]) -> None:
    one = stack("leap")
    leap = one.up(source="orders-prod", targetIdentifier=f"{one.name}-1", phase="retire")
    assert leap.status != 0
    assert "retire comes after restore" in leap.text
    assert leap.touched == []


def test_an_ordinary_setting_changes_later_and_the_database_stays(world: World, stack: Callable[[str], Stack]) -> None:
    one = stack("settings")
    world.up_to_restore(one)
    before = world.instance(f"{one.name}-1")
    for config, updated in SETTINGS:
        changed = one.up(**config).succeed()
        assert (changed.updated, changed.created, changed.replaced, changed.deleted) == (updated, [], [], []), config
    assert world.instance(f"{one.name}-1")["DbiResourceId"] == before["DbiResourceId"]
    one.up().changed_nothing()


def test_a_preview_tells_everything_and_touches_nothing(world: World, real: Callable[[str], Real]) -> None:
    one = real("preview")
    one.configure(source="orders-prod", targetIdentifier="preview-1")
    groups = boto3.client("rds").describe_db_parameter_groups
    seen = one.pulumi("preview").succeed()
    # The link stands already, for another stack of the same source.
    assert all(name in seen.text for name in ("source-parameters", "target-parameters"))
    assert "encryptdb-preview-source" not in str(groups()["DBParameterGroups"])
    one.up().succeed()
    world.prepared("preview")
    one.configure(phase="restore")
    seen = one.pulumi("preview").succeed()
    assert all(name in seen.text for name in RESTORED)
    assert "3 to create" in seen.text
    assert world.made_for("preview") == []
    assert one.pulumi("preview", "--expect-no-changes").status != 0


def test_a_refresh_finds_no_difference_in_any_phase(world: World, real: Callable[[str], Real]) -> None:
    one = real("refresh")
    quiet = ("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    one.up(source="orders-prod", targetIdentifier="refresh-1").succeed()
    one.pulumi(*quiet).succeed()
    world.prepared("refresh")
    one.up(phase="restore").succeed()
    one.pulumi(*quiet).succeed()
    one.up().changed_nothing()
    world.not_prepared("refresh")
    one.up(phase="retire").succeed()
    one.pulumi(*quiet).succeed()
    one.up().changed_nothing()


def test_what_others_changed_is_seen_by_a_refresh_and_left_alone(world: World, real: Callable[[str], Real]) -> None:
    one = real("drift")
    world.up_to_restore(one)
    boto3.client("rds").modify_db_instance(
        DBInstanceIdentifier="drift-1", DBInstanceClass="db.t4g.large", ApplyImmediately=True
    )
    boto3.client("rds").get_waiter("db_instance_available").wait(
        DBInstanceIdentifier="drift-1", WaiterConfig={"Delay": 1}
    )
    one.pulumi("refresh", "--yes", "--skip-preview").succeed()
    one.up().changed_nothing()
    assert world.instance("drift-1")["DBInstanceClass"] == "db.t4g.large"
