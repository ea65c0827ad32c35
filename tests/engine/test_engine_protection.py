"""What cannot be lost by a command: the target and its data. What cannot be read in the state: a secret."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine.conftest import World
from tests.engine.engines import Real, Stack

ADOPTER = '''"""The owner's own code, with the encrypted database in the place of the old one."""

import pulumi
import pulumi_aws as aws

orders = aws.rds.Instance(
    "orders",
    identifier="{identifier}",
    instance_class="{instance_class}",
    storage_encrypted=True,
    deletion_protection=True,
    copy_tags_to_snapshot={copy_tags},
    auto_minor_version_upgrade={minor},
    skip_final_snapshot=True,
    tags={tags},
    opts=pulumi.ResourceOptions(import_="{identifier}", protect=True),
)
pulumi.export("resourceId", orders.resource_id)
'''


def rows(world: World, outputs: Outputs) -> int:
    """What the target answers."""
    assert outputs.target
    with psycopg.connect(
        host=outputs.target.host,
        port=outputs.target.port,
        user=world.source["user"],
        password=world.source["password"],
        dbname="orders",
        connect_timeout=10,
    ) as connection:
        row = connection.execute("SELECT 1").fetchone()
    assert row
    return int(row[0])


@pytest.fixture
def restored(world: World, real: Callable[[str], Real], request: pytest.FixtureRequest) -> Real:
    """A stack of the real engine with a target."""
    one = real(request.node.originalname.removeprefix("test_").replace("_", "-")[:24].rstrip("-"))
    world.up_to_restore(one)
    return one


def test_destroy_is_refused_before_anything_is_touched(world: World, restored: Real) -> None:
    ended = restored.pulumi("destroy", "--yes")
    assert ended.status != 0
    assert "target-1" in ended.text
    assert "protected" in ended.text
    again = restored.up()
    again.changed_nothing()
    assert rows(world, Outputs.from_json(again.outputs)) == 1


def test_destroy_without_its_preview_takes_neither_target_nor_snapshots(world: World, restored: Real) -> None:
    """What nothing depends on goes before the refusal comes; the next update brings it back."""
    ended = restored.pulumi("destroy", "--yes", "--skip-preview")
    assert ended.status != 0
    assert "protected" in ended.text
    assert len(world.made_for(restored.name)) == 3
    again = restored.up().succeed()
    assert {*again.touched} <= {"link-to-source", "source-parameters"}
    assert rows(world, Outputs.from_json(again.outputs)) == 1
    restored.up().changed_nothing()


def test_unprotected_too_the_target_outlives_destroy(world: World, restored: Real) -> None:
    """Pulumi's protection taken off by hand, AWS's own still holds."""
    target = next(r["urn"] for r in restored.state()["resources"] if r["type"] == "aws:rds/instance:Instance")
    restored.pulumi("state", "unprotect", target, "--yes").succeed()
    ended = restored.pulumi("destroy", "--yes", "--skip-preview")
    assert ended.status != 0
    assert "deletion" in ended.text.lower()
    outputs = Outputs.from_json(restored.up().succeed().outputs)
    assert rows(world, outputs) == 1


def test_sparing_the_protected_destroy_leaves_target_and_data(world: World, restored: Real) -> None:
    outputs = Outputs.from_json(restored.up().succeed().outputs)
    restored.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected")
    assert f"{restored.name}-1" in world.made_for(restored.name)
    assert rows(world, outputs) == 1


def test_the_owner_s_own_stack_adopts_the_target(world: World, restored: Real, tmp_path: Path) -> None:
    target = world.instance(f"{restored.name}-1")
    tags = {t["Key"]: t["Value"] for t in target["TagList"]}
    project = tmp_path / "owner"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: owner\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (project / ".venv").symlink_to((restored.project / ".venv").resolve())
    (project / "stacks").mkdir()
    program = ADOPTER.format(
        identifier=target["DBInstanceIdentifier"],
        instance_class=target["DBInstanceClass"],
        copy_tags=target["CopyTagsToSnapshot"],
        minor=target["AutoMinorVersionUpgrade"],
        tags=tags,
    )
    (project / "__main__.py").write_text(program)
    owner = Real(restored.cli, project, "owner")
    adopted = owner.changing("up", "--yes", "--skip-preview").succeed()
    assert (adopted.created, adopted.replaced, adopted.deleted) == ([], [], [])
    assert adopted.outputs == {"resourceId": target["DbiResourceId"]}

    (project / "__main__.py").write_text(program.replace(f'import_="{target["DBInstanceIdentifier"]}", ', ""))
    owner.changing("up", "--yes", "--skip-preview").changed_nothing()
    owner.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").succeed()

    # Then the stack that made it may forget it: nothing of it is deleted in AWS.
    urn = next(r["urn"] for r in restored.state()["resources"] if r["type"] == "aws:rds/instance:Instance")
    restored.pulumi("state", "delete", urn, "--force", "--yes").succeed()
    assert world.instance(f"{restored.name}-1")["DbiResourceId"] == target["DbiResourceId"]


def test_no_secret_is_in_the_clear_in_what_the_engine_keeps(world: World, stack: Callable[[str], Stack]) -> None:
    one = stack("secrets")
    world.up_to_restore(one)
    files = one.files()
    assert files
    secrets = [world.source["password"]]
    if isinstance(one, Real):
        # What the owner configures as a secret gets into the state, with the provider that uses it.
        one.pulumi("config", "set", "--secret", "aws:secretKey", "a-key-that-nobody-reads").succeed()
        one.up().changed_nothing()
        assert "secretKey" in str(one.state())
        secrets += ["a-key-that-nobody-reads", one.cli.environment()["PULUMI_CONFIG_PASSPHRASE"]]
        files = one.files()
    for path in files:
        content = path.read_bytes()
        assert not [s for s in secrets if s.encode() in content], path
