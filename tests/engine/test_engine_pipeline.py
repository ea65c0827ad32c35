"""Five databases migrated one after another, and two at the same time, from their YAML files, by nothing but the
example pipeline's jobs on the real engine."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from tests.engine.pipeline import Database, Pipeline, account, make_databases, of_stack

DELAY = 0.05

ONE_AFTER_ANOTHER = ["billing", "events", "orders", "stock", "users"]
AT_THE_SAME_TIME = ["left", "right"]
RETIRED = ("billing", "events")
BY_APPROVAL = "events"
ROLLED_BACK = "stock"


@pytest.fixture(scope="module")
def databases(pipeline: Pipeline) -> Iterator[dict[str, Database]]:
    made = make_databases([*ONE_AFTER_ANOTHER, *AT_THE_SAME_TIME])
    yield made
    for database in made.values():
        database.stopping.set()


@pytest.fixture
def committed(pipeline: Pipeline, databases: dict[str, Database]) -> Callable[..., Database]:
    """A database whose YAML file has been committed, with the whole way to go."""

    def commit(name: str) -> Database:
        database = databases[name]
        window = "1s" if name in RETIRED else "7d"
        pipeline.configure(name, source=name, phase="restore", sourceSecret=database.secret_arn, rollbackWindow=window)
        return database

    return commit


def migrate(pipeline: Pipeline, database: Database) -> None:
    """From the pull request to the open target, while it is written to."""
    stack = database.name
    pipeline.run("check", stack).ended(0, "| create | source-parameters |", "A new stack")
    writer = database.write_on()
    pipeline.run("advance", stack, ENCRYPTDB_ALLOW_REBOOT="1").ended(0, "+ 3 created", "waits for its approval")
    pipeline.run("cutover", stack, ENCRYPTDB_APPROVED_BY="a reviewer").ended(0, "State: open.")
    target = pipeline.outputs(stack)["target"]
    assert boto3.client("rds").describe_db_instances(DBInstanceIdentifier=target["identifier"])["DBInstances"][0][
        "StorageEncrypted"
    ]
    before = len(database.written)
    database.side = target
    while len(database.written) < before + 5:
        assert writer.is_alive()
    database.stopping.set()
    writer.join(20)
    assert database.rows() == database.written == list(range(1, len(database.written) + 1))


@pytest.mark.parametrize("stack", ONE_AFTER_ANOTHER)
def test_one_after_another(
    pipeline: Pipeline, databases: dict[str, Database], committed: Callable[..., Database], stack: str
) -> None:
    states, before = pipeline.states(), account()
    assert stack not in states

    migrate(pipeline, committed(stack))
    pipeline.run("status", stack).ended(0, "State: open.")
    pipeline.run("advance", stack).ended(0, "8 unchanged", "The target serves")
    if stack in RETIRED:
        if stack == BY_APPROVAL:
            pipeline.run("retire", stack).ended(0, "Replication is taken down.", "The report is")
            pipeline.run("advance", stack).ended(0, "The migration is retired")
        pipeline.configure(stack, phase="retire")
        pipeline.run("advance", stack).ended(0, "Replication is taken down.", f"instance {stack}", "- 3 deleted")
        pipeline.run("status", stack).ended(0, "State: retired.")
        assert databases[stack].rows() == databases[stack].written
    else:
        pipeline.run("retire", stack).ended(3, "The rollback window is open")
    if stack == ROLLED_BACK:
        source = pipeline.outputs(stack)["source"]
        pipeline.run("rollback", stack).ended(0, "State: rolled-back.")
        databases[stack].side = source
        databases[stack].write(5)
        assert databases[stack].rows() == databases[stack].written
        pipeline.run("advance", stack).ended(0, "8 unchanged", "was rolled back")

    assert {s: state for s, state in pipeline.states().items() if s != stack} == states
    after = account()
    assert of_stack(stack, after) != of_stack(stack, before)
    assert without(stack, after) == without(stack, before)


def test_two_at_the_same_time(
    pipeline: Pipeline, databases: dict[str, Database], committed: Callable[..., Database]
) -> None:
    states, before = pipeline.states(), account()
    both = [committed(stack) for stack in AT_THE_SAME_TIME]
    with ThreadPoolExecutor(len(both)) as pool:
        for done in [pool.submit(migrate, pipeline, database) for database in both]:
            done.result()

    assert {s: state for s, state in pipeline.states().items() if s not in AT_THE_SAME_TIME} == states
    assert without(AT_THE_SAME_TIME[0], without(AT_THE_SAME_TIME[1], account())) == without(
        AT_THE_SAME_TIME[0], without(AT_THE_SAME_TIME[1], before)
    )
    for stack, other in (AT_THE_SAME_TIME, reversed(AT_THE_SAME_TIME)):
        mine, its = pipeline.outputs(stack), pipeline.outputs(other)
        assert mine["source"]["identifier"] == stack
        assert mine["target"]["identifier"] == f"{stack}-encrypted-1"
        assert mine["target"]["resourceId"] != its["target"]["resourceId"]
        pipeline.run("status", stack).ended(0, "State: open.")


def without(stack: str, found: dict[str, object]) -> dict[str, object]:
    own = of_stack(stack, found)
    return {name: facts for name, facts in found.items() if name not in own}
