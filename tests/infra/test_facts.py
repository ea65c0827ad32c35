"""What AWS answers about clusters, read as values."""

from typing import Any

import pytest

from encryptdb.stacks.cloud.database import Capacity, Cluster
from tests.infra.worlds import member_of


def answer(**changes: Any) -> dict[str, Any]:
    """One element of DescribeDBClusters."""
    given = {
        "DBClusterIdentifier": "orders",
        "DbClusterResourceId": "cluster-1",
        "Engine": "aurora-postgresql",
        "Endpoint": "orders.cluster.example",
        "Status": "available",
    }
    return given | changes


@pytest.mark.parametrize(
    ("changes", "encrypted"),
    [
        ({}, False),
        ({"StorageEncrypted": False, "StorageEncryptionType": "none"}, False),
        ({"StorageEncrypted": False, "StorageEncryptionType": "sse-rds"}, True),
        ({"StorageEncrypted": True, "StorageEncryptionType": "sse-kms", "KmsKeyId": "arn:key"}, True),
        ({"StorageEncrypted": True, "KmsKeyId": "arn:key"}, True),
    ],
)
def test_encryption_is_read_from_both_fields(changes: dict[str, Any], encrypted: bool) -> None:
    read = Cluster.read(answer(**changes), {})
    assert read.encrypted is encrypted
    assert read.kms_key_arn == changes.get("KmsKeyId")


def test_the_writer_comes_first_and_readers_in_the_order_of_their_numbers() -> None:
    instances = {f"orders-{n}": member_of("orders", n) for n in (1, 2, 3, 10)}
    instances["other-1"] = member_of("other", 1)
    roles = [{"DBInstanceIdentifier": f"orders-{n}", "IsClusterWriter": n == 3} for n in (10, 2, 3)]
    read = Cluster.read(answer(DBClusterMembers=roles), instances)
    # The first is being made: it knows its cluster already, the cluster does not know it yet.
    assert [m.identifier for m in read.members] == ["orders-3", "orders-1", "orders-2", "orders-10"]


def test_a_cluster_that_is_being_made_is_not_complete_though_it_has_its_endpoints() -> None:
    assert Cluster.read(answer(), {}).complete
    assert not Cluster.read(answer(Status="creating"), {}).complete


def test_the_capacity_of_serverless_v2() -> None:
    scaling = {"MinCapacity": 0.5, "MaxCapacity": 16.0}
    assert Cluster.read(answer(ServerlessV2ScalingConfiguration=scaling), {}).capacity == Capacity(0.5, 16.0)
    assert Cluster.read(answer(), {}).capacity is None
