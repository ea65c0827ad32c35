"""The same for an Aurora cluster and its instances, on both engines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine.conftest import World
from tests.engine.engines import Real, Stack

ENGINE = "aurora"

RESTORED = ["snapshot-1", "target-1", "target-1-1", "target-1-2"]
QUIET = ("refresh", "--yes", "--skip-preview", "--expect-no-changes")

ADOPTER = '''"""The owner's own code, with the encrypted cluster in the place of the old one."""

import pulumi
import pulumi_aws as aws

orders = aws.rds.Cluster(
    "orders",
    cluster_identifier="{identifier}",
    engine="aurora-postgresql",
    storage_encrypted=True,
    kms_key_id="{key}",
    deletion_protection=True,
    copy_tags_to_snapshot={copy_tags},
    enabled_cloudwatch_logs_exports={logs},
    iam_database_authentication_enabled={iam},
    skip_final_snapshot=True,
    tags={tags},
    opts=pulumi.ResourceOptions(import_="{identifier}", protect=True),
)
pulumi.export("resourceId", orders.cluster_resource_id)
'''


@pytest.fixture
def restored(world: World, real: Callable[[str], Real], request: pytest.FixtureRequest) -> Real:
    """A stack of the real engine with a target."""
    one = real(request.node.originalname.removeprefix("test_").replace("_", "-")[:24].rstrip("-"))
    world.up_to_restore(one)
    return one


def test_every_phase_and_each_again(world: World, stack: Callable[[str], Stack]) -> None:
    one = stack("phases")
    prepared = one.up(source="orders-prod", targetIdentifier=f"{one.name}-1").succeed()
    assert {"source-parameters", "target-parameters"} <= {*prepared.created}
    one.up().changed_nothing()

    world.prepared(one.name)
    made = one.up(phase="restore").succeed()
    assert made.created == RESTORED
    outputs = Outputs.from_json(made.outputs)
    assert outputs.target
    assert outputs.target.members == (f"{one.name}-1-1", f"{one.name}-1-2")
    assert world.cluster(f"{one.name}-1")["KmsKeyId"] == outputs.kms_key_arn
    one.up().changed_nothing()

    world.not_prepared(one.name)
    assert "snapshot-1" in one.up(phase="retire").succeed().deleted
    one.up().changed_nothing()
    assert world.made_for(one.name) == [f"{one.name}-1", f"{one.name}-1-1", f"{one.name}-1-2"]


def test_an_ordinary_setting_changes_later_and_the_cluster_stays(world: World, stack: Callable[[str], Stack]) -> None:
    one = stack("settings")
    world.up_to_restore(one)
    before = world.cluster(f"{one.name}-1")["DbClusterResourceId"]
    changed = one.up(instanceClass="db.r6g.xlarge").succeed()
    assert (changed.updated, changed.created, changed.replaced) == (["target-1-1", "target-1-2"], [], [])
    assert world.cluster(f"{one.name}-1")["DbClusterResourceId"] == before
    one.up().changed_nothing()


def test_a_refresh_finds_no_difference_in_any_phase(world: World, real: Callable[[str], Real]) -> None:
    one = real("refresh")
    one.up(source="orders-prod", targetIdentifier="refresh-1").succeed()
    one.pulumi(*QUIET).succeed()
    world.prepared("refresh")
    one.up(phase="restore").succeed()
    one.pulumi(*QUIET).succeed()
    one.up().changed_nothing()
    world.not_prepared("refresh")
    one.up(phase="retire").succeed()
    one.pulumi(*QUIET).succeed()
    one.up().changed_nothing()


def settled(members: int, cluster: str) -> None:
    """Wait until the cluster and its instances are available."""
    rds: Any = boto3.client("rds")
    for number in range(1, members + 1):
        waiter = rds.get_waiter("db_instance_available")
        waiter.wait(DBInstanceIdentifier=f"{cluster}-{number}", WaiterConfig={"Delay": 1})
    rds.get_waiter("db_cluster_available").wait(DBClusterIdentifier=cluster, WaiterConfig={"Delay": 1})


def test_what_others_changed_is_seen_by_a_refresh_and_left_alone(world: World, restored: Real) -> None:
    cluster = f"{restored.name}-1"
    rds = boto3.client("rds")
    rds.modify_db_instance(
        DBInstanceIdentifier=f"{cluster}-2", DBInstanceClass="db.r6g.xlarge", PromotionTier=7, ApplyImmediately=True
    )
    rds.modify_db_cluster(DBClusterIdentifier=cluster, CopyTagsToSnapshot=False, ApplyImmediately=True)
    settled(2, cluster)
    assert restored.pulumi(*QUIET).status != 0
    restored.pulumi("refresh", "--yes", "--skip-preview").succeed()
    restored.up().changed_nothing()
    assert world.instance(f"{cluster}-2")["DBInstanceClass"] == "db.r6g.xlarge"
    assert world.cluster(cluster)["CopyTagsToSnapshot"] is False


def test_deletion_protection_that_others_took_off_comes_back(world: World, restored: Real) -> None:
    cluster = f"{restored.name}-1"
    boto3.client("rds").modify_db_cluster(DBClusterIdentifier=cluster, DeletionProtection=False, ApplyImmediately=True)
    settled(2, cluster)
    restored.pulumi("refresh", "--yes", "--skip-preview").succeed()
    again = restored.up().succeed()
    assert again.touched == ["target-1"]
    assert again.updated == ["target-1"]
    assert world.cluster(cluster)["DeletionProtection"] is True


def test_destroy_takes_neither_cluster_nor_instances(world: World, restored: Real) -> None:
    before = world.made_for(restored.name)
    ended = restored.pulumi("destroy", "--yes", "--skip-preview")
    assert ended.status != 0
    assert "protected" in ended.text
    assert world.made_for(restored.name) == before
    restored.up().succeed()
    restored.up().changed_nothing()


def test_the_owner_s_own_stack_adopts_the_cluster(world: World, restored: Real, tmp_path: Path) -> None:
    target = world.cluster(f"{restored.name}-1")
    project = tmp_path / "owner"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: owner\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (project / ".venv").symlink_to((restored.project / ".venv").resolve())
    (project / "stacks").mkdir()
    program = ADOPTER.format(
        identifier=target["DBClusterIdentifier"],
        key=target["KmsKeyId"],
        copy_tags=target["CopyTagsToSnapshot"],
        logs=target.get("EnabledCloudwatchLogsExports", []),
        iam=target["IAMDatabaseAuthenticationEnabled"],
        tags={t["Key"]: t["Value"] for t in target["TagList"]},
    )
    (project / "__main__.py").write_text(program)
    owner = Real(restored.cli, project, "owner-of-a-cluster")
    adopted = owner.changing("up", "--yes", "--skip-preview").succeed()
    assert (adopted.created, adopted.replaced, adopted.deleted) == ([], [], [])
    assert adopted.outputs == {"resourceId": target["DbClusterResourceId"]}

    (project / "__main__.py").write_text(program.replace(f'import_="{target["DBClusterIdentifier"]}", ', ""))
    owner.changing("up", "--yes", "--skip-preview").changed_nothing()
    owner.pulumi(*QUIET).succeed()
