"""A lab for each module, and stacks on it: of the in-process engine everywhere, of the real one where a CLI is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from encryptdb.lab.errors import LabError
from encryptdb.lab.pulumi import cli
from encryptdb.lab.pulumi.up import enter
from tests.engine.engines import ROOT, SECONDS, InProcess, Real, Stack
from tests.engine.pipeline import Pipeline


@dataclass
class World:
    """One lab, seen as an AWS account."""

    directory: Path
    source: dict[str, Any]

    def instance(self, identifier: str) -> dict[str, Any]:
        return dict(boto3.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0])

    def cluster(self, identifier: str) -> dict[str, Any]:
        return dict(boto3.client("rds").describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0])

    def mark(self, stack: str) -> None:
        """What `controller prepare` writes when it has finished."""
        document = {
            "source_resource_id": self.source["resource_id"],
            "attempt": 1,
            "slots": {},
            "time": "2024-05-01T12:00:00Z",
        }
        boto3.client("ssm").put_parameter(
            Name=f"/encryptdb/{stack}/prepared", Type="String", Value=json.dumps(document), Overwrite=True
        )

    def unmark(self, stack: str) -> None:
        """What `controller retire` and `controller abandon` do."""
        boto3.client("ssm").delete_parameter(Name=f"/encryptdb/{stack}/prepared")

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
        self.mark(stack.name)
        stack.up(phase="restore").succeed()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    """Its states in between last as many seconds as the module's DELAY says; its source is of the module's ENGINE."""
    delay = str(getattr(request.module, "DELAY", 0.1))
    directory = tmp_path_factory.mktemp("engine") / "lab"
    before = dict(os.environ)
    engine = getattr(request.module, "ENGINE", "rds")
    command = [sys.executable, "-m", "lab", "start", "--dir", str(directory), "--engine", engine, "--delay", delay]
    started = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert started.returncode == 0, started.stderr
    try:
        enter(directory)
        yield World(directory, json.loads(started.stdout)["source"])
    finally:
        stop = [sys.executable, "-m", "lab", "stop", "--dir", str(directory)]
        subprocess.run(stop, cwd=ROOT, capture_output=True, timeout=SECONDS, check=True)
        os.environ.clear()
        os.environ.update(before)


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
