"""`lab up` for a cluster on the lab: the same program, the real API, real servers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from encryptdb.stacks.contract.outputs import Outputs
from tests.infra.test_on_the_lab import ROOT, SECONDS, Lab, nothing, succeed


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("lab") / "lab"
    before = dict(os.environ)
    start = [sys.executable, "-m", "lab", "start", "--engine", "aurora", "--dir", str(directory), "--delay", "0.1"]
    started = subprocess.run([*start, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert started.returncode == 0, started.stderr
    try:
        lab = Lab(directory, json.loads(started.stdout)["source"])
        # boto3 here and in the program is to find the lab, as after `. DIR/env`.
        lab.up("warm-up", source="no-such-cluster")
        yield lab
    finally:
        stop = [sys.executable, "-m", "lab", "stop", "--dir", str(directory)]
        subprocess.run(stop, cwd=ROOT, capture_output=True, timeout=SECONDS, check=True)
        os.environ.clear()
        os.environ.update(before)


def cluster(identifier: str) -> dict[str, Any]:
    return dict(boto3.client("rds").describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0])


def prepared_parameter(stack: str, resource_id: str) -> None:
    """What `controller prepare` writes when it has finished."""
    document = {"source_resource_id": resource_id, "attempt": 1, "slots": {}, "time": "2024-05-01T12:00:00Z"}
    boto3.client("ssm").put_parameter(
        Name=f"/encryptdb/{stack}/prepared", Type="String", Value=json.dumps(document), Overwrite=True
    )


def test_from_nothing_to_an_encrypted_cluster_alone(lab: Lab) -> None:
    assert sorted(succeed(lab.up("first", source="orders-prod")).changes.created) == [
        "link-to-source",
        "source-parameters",
        "target-parameters",
    ]
    nothing(lab.up("first"))
    assert lab.up("first", phase="restore").status == 3

    prepared_parameter("first", cluster("orders-prod")["DbClusterResourceId"])
    made = succeed(lab.up("first"))
    assert made.changes.created == ["snapshot-1", "target-1", "target-1-1", "target-1-2"]
    nothing(lab.up("first"))

    outputs = Outputs.from_json(made.outputs)
    assert outputs.engine == "aurora-postgresql"
    assert outputs.target is not None
    source, target = cluster("orders-prod"), cluster(outputs.target.identifier)
    assert (outputs.source.members, outputs.source.reader_host) == (
        ("orders-prod-1", "orders-prod-2"),
        source["ReaderEndpoint"],
    )
    assert (outputs.target.host, outputs.target.reader_host) == (target["Endpoint"], target["ReaderEndpoint"])
    assert outputs.target.resource_id == target["DbClusterResourceId"]
    assert (target["StorageEncrypted"], target["StorageEncryptionType"]) == (True, "sse-kms")
    assert target["KmsKeyId"] == outputs.kms_key_arn
    assert target["DeletionProtection"] is True
    assert target["DBClusterParameterGroup"] == outputs.target_parameter_group
    for copied in ("EngineVersion", "DBSubnetGroup", "VpcSecurityGroups"):
        assert target.get(copied) == source.get(copied), copied
    roles = {m["DBInstanceIdentifier"]: m["IsClusterWriter"] for m in target["DBClusterMembers"]}
    assert outputs.target.members == tuple(f"{outputs.target.identifier}-{n}" for n in (1, 2))
    assert [roles[m] for m in outputs.target.members] == [True, False]
    for member in outputs.target.members:
        assert lab.instance(member)["StorageEncrypted"] is True

    boto3.client("ssm").delete_parameter(Name="/encryptdb/first/prepared")
    assert sorted(succeed(lab.up("first", phase="retire")).changes.deleted) == ["link-to-source", "snapshot-1"]
    nothing(lab.up("first"))
    assert cluster(outputs.target.identifier)["DeletionProtection"] is True


def test_an_instance_of_a_cluster_is_no_source(lab: Lab) -> None:
    ending = lab.up("member", source="orders-prod-2")
    assert (ending.status, ending.changes.created) == (2, [])
    assert ending.what.startswith("encryptdb:source: ")
    assert "pulumi config set encryptdb:source orders-prod --stack member" in ending.hint
