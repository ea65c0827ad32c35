"""The same for an Aurora cluster and its instances."""

from collections.abc import Callable
from pathlib import Path

import boto3

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine import adoption
from tests.engine.conftest import World
from tests.engine.engines import Real

ENGINE = "aurora"

ADOPTED = ["orders-prod", "orders-prod-1", "orders-prod-2", "orders-prod-parameters"]


def test_the_printed_file_adopts_and_the_printed_commands_remove_the_stack(
    world: World, real: Callable[[str], Real], tmp_path: Path
) -> None:
    one = real("adopted")
    world.up_to_restore(one)
    world.ended("adopted-1")
    world.not_prepared(one.name)
    outputs = Outputs.from_json(one.up(phase="retire").succeed().outputs)
    adoption.write_row(world, outputs)
    before = world.made_for(one.name)
    assert before == ["adopted-1", "adopted-1-1", "adopted-1-2"]
    page = adoption.adopt(world, one)
    assert page.status == 0, page.told

    owner = adoption.owner_of(page, one, tmp_path)
    assert adoption.import_into(owner, page) == {"import": ADOPTED}
    assert adoption.up(owner) == {"same": ADOPTED}
    owner.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").succeed()

    adoption.remove(page, one)
    assert not adoption.exists(one)
    assert world.made_for(one.name) == before
    cluster = world.cluster("adopted-1")
    assert cluster["DBClusterParameterGroup"] == outputs.target_parameter_group
    rds = boto3.client("rds")
    assert rds.describe_db_cluster_parameter_groups(DBClusterParameterGroupName=str(outputs.target_parameter_group))
    assert adoption.row(world, outputs) == 42
    assert adoption.up(owner) == {"same": ADOPTED}
