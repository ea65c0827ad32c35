"""`controller adopt`: what it prints imports the target into another stack and removes this one, on the real engine."""

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine import adoption
from tests.engine.conftest import World
from tests.engine.engines import Real

QUIET = ("refresh", "--yes", "--skip-preview", "--expect-no-changes")


@pytest.fixture
def restored(world: World, real: Callable[[str], Real], request: pytest.FixtureRequest) -> Real:
    """A stack of the real engine with a target."""
    one = real(request.node.originalname.removeprefix("test_").replace("_", "-")[:24].rstrip("-"))
    world.up_to_restore(one)
    return one


@pytest.fixture
def retired(world: World, restored: Real) -> Real:
    world.ended(f"{restored.name}-1")
    world.not_prepared(restored.name)
    restored.up(phase="retire").succeed()
    return restored


def test_before_retire_it_says_what_comes_first_and_shows_what_is_known(world: World, restored: Real) -> None:
    page = adoption.adopt(world, restored)
    assert page.status == 4, page.told
    assert "The control database is missing on the source" in page.told

    world.ended(f"{restored.name}-1")
    page = adoption.adopt(world, restored)
    assert page.status == 3, page.told
    assert f"encryptdb retire --stack {restored.name}" in page.told
    assert "Not yet" in page.text
    assert f'"id": "{restored.name}-1"' in page.text

    world.not_prepared(restored.name)
    page = adoption.adopt(world, restored)
    assert page.status == 3, page.told
    assert "phase=retire" in page.told


def test_it_changes_nothing(world: World, retired: Real) -> None:
    def everything() -> object:
        target = world.instance(f"{retired.name}-1")
        # It moves on by itself.
        del target["LatestRestorableTime"]
        return target, retired.state()

    before = everything()
    assert adoption.adopt(world, retired).status == 0
    assert everything() == before


def test_the_printed_file_adopts_and_the_printed_commands_remove_the_stack(
    world: World, retired: Real, tmp_path: Path
) -> None:
    outputs = Outputs.from_json(retired.up().outputs)
    adoption.write_row(world, outputs)
    target = world.instance(f"{retired.name}-1")
    page = adoption.adopt(world, retired)
    assert page.status == 0, page.told

    owner = adoption.owner_of(page, retired, tmp_path)
    assert adoption.import_into(owner, page) == {"import": ["orders-prod", "orders-prod-parameters"]}
    assert adoption.up(owner) == {"same": ["orders-prod", "orders-prod-parameters"]}
    owner.pulumi(*QUIET).succeed()

    adoption.remove(page, retired)
    assert not adoption.exists(retired)
    assert not (retired.project / "stacks" / f"Pulumi.{retired.name}.yaml").exists()
    standing = world.instance(f"{retired.name}-1")
    assert (standing["DbiResourceId"], standing["DeletionProtection"]) == (target["DbiResourceId"], True)
    assert adoption.row(world, outputs) == 42
    rds = boto3.client("rds")
    group = standing["DBParameterGroups"][0]["DBParameterGroupName"]
    assert group == outputs.target_parameter_group
    assert rds.describe_db_parameters(DBParameterGroupName=group, Source="user")["Parameters"]
    with pytest.raises(ClientError, match="DBParameterGroupNotFound"):
        rds.describe_db_parameter_groups(DBParameterGroupName=str(outputs.source_parameter_group))
    # The owner's stack holds it now, and nothing of it has moved.
    assert adoption.up(owner) == {"same": ["orders-prod", "orders-prod-parameters"]}
    assert owner.pulumi("destroy", "--yes", "--skip-preview").status != 0


def test_a_setting_changed_in_the_adopted_code_changes_the_target(world: World, retired: Real, tmp_path: Path) -> None:
    page = adoption.adopt(world, retired)
    owner = adoption.owner_of(page, retired, tmp_path)
    adoption.import_into(owner, page)
    before = world.instance(f"{retired.name}-1")["BackupRetentionPeriod"]
    adoption.change(
        owner,
        "orders-prod",
        backupRetentionPeriod=before + 3,
        skipFinalSnapshot=False,
        finalSnapshotIdentifier="orders-final",
    )
    assert adoption.up(owner)["update"] == ["orders-prod"]
    assert world.instance(f"{retired.name}-1")["BackupRetentionPeriod"] == before + 3


def test_while_the_source_uses_the_stack_s_group_it_says_so_first(world: World, retired: Real) -> None:
    outputs = Outputs.from_json(retired.up().outputs)
    rds = boto3.client("rds")
    had = world.instance("orders-prod")["DBParameterGroups"][0]["DBParameterGroupName"]
    assert "THE_GROUP_IT_HAD" not in adoption.adopt(world, retired).text
    rds.modify_db_instance(
        DBInstanceIdentifier="orders-prod",
        DBParameterGroupName=str(outputs.source_parameter_group),
        ApplyImmediately=True,
    )
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="orders-prod", WaiterConfig={"Delay": 1})
    try:
        page = adoption.adopt(world, retired)
        assert f"still uses the parameter group {outputs.source_parameter_group}" in page.text
        assert "THE_GROUP_IT_HAD" in page.text
        assert page.text.index("THE_GROUP_IT_HAD") < page.text.index("pulumi destroy")
    finally:
        rds.modify_db_instance(DBInstanceIdentifier="orders-prod", DBParameterGroupName=had, ApplyImmediately=True)


def test_destroy_before_the_stack_has_forgotten_the_target_is_refused_as_it_says(world: World, retired: Real) -> None:
    page = adoption.adopt(world, retired)
    *_, rest = page.blocks("sh", after="## 4.")
    assert rest.startswith(f"pulumi destroy --yes --stack {retired.name}")
    ended = retired.pulumi("destroy", "--yes")
    assert ended.status != 0
    assert "protected" in ended.text
    retired.up().changed_nothing()
