"""`lab up` for a cluster on the lab: the same program, the real API, real servers."""

from collections.abc import Iterator

import boto3
import pytest

from encryptdb.stacks.contract.outputs import Outputs
from tests.infra.test_on_the_lab import Lab, nothing, succeed
from tests.kit.lab import entered


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with entered(tmp_path_factory.mktemp("lab") / "lab", "aurora") as made:
        yield Lab(made.directory, made.document, made.env)


def test_from_nothing_to_an_encrypted_cluster_alone(lab: Lab) -> None:
    assert sorted(succeed(lab.up("first", source="orders-prod")).changes.created) == [
        "link-to-source",
        "source-parameters",
        "target-parameters",
    ]
    nothing(lab.up("first"))
    assert lab.up("first", phase="restore").status == 3

    lab.prepared("first")
    made = succeed(lab.up("first"))
    assert made.changes.created == ["snapshot-1", "target-1", "target-1-1", "target-1-2"]
    nothing(lab.up("first"))

    outputs = Outputs.from_json(made.outputs)
    assert outputs.engine == "aurora-postgresql"
    assert outputs.target is not None
    source, target = lab.cluster("orders-prod"), lab.cluster(outputs.target.identifier)
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
    assert lab.cluster(outputs.target.identifier)["DeletionProtection"] is True


def test_an_instance_of_a_cluster_is_no_source(lab: Lab) -> None:
    ending = lab.up("member", source="orders-prod-2")
    assert (ending.status, ending.changes.created) == (2, [])
    assert ending.what.startswith("encryptdb:source: ")
    assert "pulumi config set encryptdb:source orders-prod --stack member" in ending.hint
