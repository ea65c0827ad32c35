"""A lab for each module, and stacks on it: of the in-process engine everywhere, of the real one where a CLI is."""

from collections.abc import Callable, Iterator

import boto3
import pytest

from encryptdb.lab.errors import LabError
from encryptdb.lab.pulumi import cli
from tests.engine.engines import InProcess, Real, Stack
from tests.engine.pipeline import Pipeline
from tests.kit.lab import Lab, entered


class World(Lab):
    """One lab, seen as an AWS account."""

    def made_for(self, stack: str) -> list[str]:
        """Every instance, cluster and snapshot that carries the stack's tag."""
        rds = boto3.client("rds")
        found = [(i["DBInstanceIdentifier"], i["TagList"]) for i in rds.describe_db_instances()["DBInstances"]]
        snapshots = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        found += [(s["DBSnapshotIdentifier"], s["TagList"]) for s in snapshots]
        found += [(c["DBClusterIdentifier"], c["TagList"]) for c in rds.describe_db_clusters()["DBClusters"]]
        of_clusters = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
        found += [(s["DBClusterSnapshotIdentifier"], s["TagList"]) for s in of_clusters]
        return sorted(name for name, tags in found if {"Key": "encryptdb:stack", "Value": stack} in tags)

    def up_to_restore(self, stack: Stack) -> None:
        stack.up(source="orders-prod", targetIdentifier=f"{stack.name}-1").succeed()
        self.prepared(stack.name)
        stack.up(phase="restore").succeed()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    """Its states in between last as many seconds as the module's DELAY says; its source is of the module's ENGINE."""
    directory = tmp_path_factory.mktemp("engine") / "lab"
    engine, delay = getattr(request.module, "ENGINE", "rds"), getattr(request.module, "DELAY", 0.1)
    with entered(directory, engine, delay) as made:
        yield World(made.directory, made.document, made.env)


@pytest.fixture
def real(world: World) -> Callable[[str], Real]:
    """Makes a stack of that name on the real engine."""
    try:
        found = cli.of(world.directory)
    except LabError as error:
        pytest.skip(error.message)
    return lambda name: Real(found, world.directory.parent / "project", name)


@pytest.fixture(scope="module")
def pipeline(world: World) -> Pipeline:
    """The example pipeline, with the lab for its account."""
    try:
        found = cli.of(world.directory)
    except LabError as error:
        pytest.skip(error.message)
    return Pipeline(found, world.directory.parent / "pipeline")


@pytest.fixture(params=["in-process", "pulumi"])
def stack(request: pytest.FixtureRequest, world: World) -> Callable[[str], Stack]:
    """Makes a stack of that name (its engine's initial is added) on each engine."""
    if request.param == "in-process":
        return lambda name: InProcess(world.directory, f"{name}-i")
    make: Callable[[str], Real] = request.getfixturevalue("real")
    return lambda name: make(f"{name}-p")
