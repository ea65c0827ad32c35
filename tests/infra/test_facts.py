"""What AWS answers about instances and clusters, read as values."""

from typing import Any

import pytest

from encryptdb.stacks.cloud import answers
from encryptdb.stacks.cloud.database import BROKEN, CHANGING, SERVING, Capacity


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


def member(identifier: str, cluster: str | None = "orders", **changes: Any) -> dict[str, Any]:
    """One element of DescribeDBInstances."""
    given = {"DBInstanceIdentifier": identifier, "DbiResourceId": identifier, "DBInstanceStatus": "available"}
    return given | ({"DBClusterIdentifier": cluster} if cluster else {}) | changes


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
    read = answers.cluster(answer(**changes))
    alone = answers.instance(member("orders", None, **changes))
    assert read.encrypted is alone.encrypted is answers.is_encrypted(changes) is encrypted
    assert read.kms_key_arn == alone.kms_key_arn == changes.get("KmsKeyId")


def test_the_writer_comes_first_and_readers_in_the_order_of_their_numbers() -> None:
    instances = [member(f"orders-{n}") for n in (1, 2, 3, 10)] + [member("other-1", "other")]
    roles = [{"DBInstanceIdentifier": f"orders-{n}", "IsClusterWriter": n == 3} for n in (10, 2, 3)]
    read = answers.cluster(answer(DBClusterMembers=roles), instances)
    # The first is being made: it knows its cluster already, the cluster does not know it yet.
    assert [m.identifier for m in read.members] == ["orders-3", "orders-1", "orders-2", "orders-10"]


def test_a_cluster_that_is_being_made_is_not_complete_though_it_has_its_endpoints() -> None:
    assert answers.cluster(answer()).complete
    assert not answers.cluster(answer(Status="creating")).complete


def test_the_capacity_of_serverless_v2() -> None:
    scaling = {"MinCapacity": 0.5, "MaxCapacity": 16.0}
    assert answers.cluster(answer(ServerlessV2ScalingConfiguration=scaling)).capacity == Capacity(0.5, 16.0)
    assert answers.cluster(answer()).capacity is None


def test_a_status_is_of_one_kind_only() -> None:
    assert not SERVING & CHANGING
    assert not SERVING & BROKEN
    assert not CHANGING & BROKEN


@pytest.mark.parametrize(
    ("status", "serving"),
    [
        ("available", True),
        ("backing-up", True),
        ("storage-optimization", True),
        ("storage-initialization", True),
        ("modifying", False),
        ("rebooting", False),
        ("storage-full", False),
        ("something-new", False),
    ],
)
def test_a_server_serves_in_more_statuses_than_available(status: str, serving: bool) -> None:
    roles = [{"DBInstanceIdentifier": "orders-1", "IsClusterWriter": True}]
    whole = answers.cluster(answer(DBClusterMembers=roles), [member("orders-1", DBInstanceStatus=status)])
    alone = answers.instance(member("orders", None, DBInstanceStatus=status))
    assert (whole.serving, alone.serving) == (serving, serving)
    assert serving or whole.overall_status == alone.overall_status == status


def test_a_cluster_may_be_public_in_part() -> None:
    roles = [{"DBInstanceIdentifier": f"orders-{n}"} for n in (1, 2)]
    instances = [member("orders-1", PubliclyAccessible=True), member("orders-2")]
    one = answers.cluster(answer(DBClusterMembers=roles), instances)
    assert (one.public, one.wholly_public) == (True, False)
