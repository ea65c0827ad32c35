"""What the controller reads of RDS and Aurora, and what it asks of them: answers are AWS's, calls are looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from encryptdb.controller.engines import engine_of
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.cloud.answers import cluster as describe
from encryptdb.stacks.cloud.client import NotFound
from encryptdb.stacks.cloud.database import SERVING
from encryptdb.stacks.cloud.words import WORDS
from encryptdb.stacks.contract.errors import Failed
from encryptdb.stacks.contract.outputs import Side

MADE = datetime(2024, 4, 27, 12, 0, tzinfo=UTC)
SOURCE = Side("orders", "cluster-SOURCE", "orders.cluster", 5432, members=("orders-1", "orders-2"))


def cluster(**changes: Any) -> dict[str, Any]:
    """One element of DescribeDBClusters: a reader listed before the writer, as AWS may have it."""
    plain = {
        "DBClusterIdentifier": "orders",
        "DbClusterResourceId": "cluster-SOURCE",
        "Status": "available",
        "Engine": "aurora-postgresql",
        "EngineVersion": "15.4",
        "StorageEncrypted": False,
        "DBClusterParameterGroup": "orders-source",
        "Port": 5432,
        "DBClusterMembers": [
            {"DBInstanceIdentifier": "orders-2", "IsClusterWriter": False, "DBClusterParameterGroupStatus": "in-sync"},
            {"DBInstanceIdentifier": "orders-1", "IsClusterWriter": True, "DBClusterParameterGroupStatus": "in-sync"},
        ],
    }
    return plain | changes


def instance(name: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "DBInstanceIdentifier": name,
        "DBInstanceStatus": "available",
        "Endpoint": {"Address": f"{name}.example", "Port": 5432},
        "InstanceCreateTime": MADE,
    }
    return plain | changes


INSTANCES = [instance("orders-1"), instance("orders-2")]

Answer = Callable[..., Any]


@dataclass
class Aws:
    """AWS as one test wants it: the answer to each operation; whatever else is asked is not there."""

    answers: dict[str, Any]
    region: str = "eu-central-1"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        self.calls.append((operation, given))
        if operation not in self.answers:
            raise NotFound("AWS knows no such thing.")
        found = self.answers[operation]
        answer: dict[str, Any] = found(**given) if callable(found) else found
        return answer

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
        yield from self.call(service, operation, **given).get(key, ())

    def changes(self) -> list[tuple[str, dict[str, Any]]]:
        return [(o, g) for o, g in self.calls if not o.startswith("describe")]


class Clock:
    """Time that only passes by sleeping."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def aurora(aws: Aws) -> Any:
    return engine_of("aurora-postgresql", aws)  # type: ignore[arg-type]


def of(found: dict[str, Any], instances: list[dict[str, Any]]) -> Aws:
    return Aws({"describe_db_clusters": {"DBClusters": [found]}, "describe_db_instances": {"DBInstances": instances}})


# What a cluster is.


def test_the_writer_stands_first_whatever_the_order_of_the_answer() -> None:
    found = describe(cluster(), INSTANCES)
    assert [m.identifier for m in found.members] == ["orders-1", "orders-2"]
    assert [m.host for m in found.readers] == ["orders-2.example"]
    assert (found.overall_status, found.parameter_status) == ("available", "in-sync")


@pytest.mark.parametrize(
    ("given", "instances", "status"),
    [
        (cluster(Status="modifying"), INSTANCES, "modifying"),
        (cluster(), [instance("orders-1"), instance("orders-2", DBInstanceStatus="rebooting")], "rebooting"),
        (cluster(), [instance("orders-1")], "unknown"),
        (cluster(DBClusterMembers=[]), [], "without an instance"),
    ],
)
def test_a_cluster_is_available_only_with_all_of_its_members(
    given: dict[str, Any], instances: list[dict[str, Any]], status: str
) -> None:
    assert describe(given, instances).overall_status == status


def test_one_member_that_waits_for_a_reboot_is_the_clusters_state() -> None:
    members = cluster()["DBClusterMembers"]
    members[0]["DBClusterParameterGroupStatus"] = "pending-reboot"
    assert describe(cluster(DBClusterMembers=members), INSTANCES).parameter_status == "pending-reboot"


@pytest.mark.parametrize(
    ("encrypted", "kind", "read", "under_kms_key"),
    [
        (False, None, False, False),
        (False, "none", False, False),
        (True, "sse-rds", True, False),
        (False, "sse-rds", True, False),
        (True, "sse-kms", True, True),
        (True, None, True, True),
    ],
)
def test_both_words_about_encryption_are_read(
    encrypted: bool, kind: str | None, read: bool, under_kms_key: bool
) -> None:
    found = describe(cluster(StorageEncrypted=encrypted, StorageEncryptionType=kind), INSTANCES)
    assert (found.encrypted, found.under_kms_key) == (read, under_kms_key)


def test_what_aws_does_not_know_is_none_and_what_it_does_not_tell_is_a_failure() -> None:
    assert aurora(Aws({})).find("orders") is None

    def refuse(**given: Any) -> Any:
        raise Failed("AWS refused rds describe_db_clusters.")

    with pytest.raises(Failed):
        aurora(Aws({"describe_db_clusters": refuse})).find("orders")


# What is done to it.


@dataclass
class Rebooted:
    """A cluster whose members get a new parameter group by being rebooted, the writer alone or all at once."""

    takes_readers_along: bool
    waiting: set[str] = field(default_factory=lambda: {"orders-1", "orders-2"})
    looks: int = 0

    def aws(self) -> Aws:
        return Aws(
            {
                "describe_db_clusters": self.clusters,
                "describe_db_instances": {"DBInstances": INSTANCES},
                "reboot_db_instance": self.reboot,
            }
        )

    def clusters(self, **given: Any) -> Any:
        members = cluster()["DBClusterMembers"]
        for member in members:
            if member["DBInstanceIdentifier"] in self.waiting:
                member["DBClusterParameterGroupStatus"] = "pending-reboot"
        return {"DBClusters": [cluster(DBClusterMembers=members)]}

    def reboot(self, DBInstanceIdentifier: str) -> Any:
        self.waiting -= {"orders-1", "orders-2"} if self.takes_readers_along else {DBInstanceIdentifier}
        return {}


@pytest.mark.parametrize(("along", "rebooted"), [(True, ["orders-1"]), (False, ["orders-1", "orders-2"])])
def test_the_writer_is_rebooted_and_then_the_readers_that_still_wait(along: bool, rebooted: list[str]) -> None:
    aws = Rebooted(along).aws()
    aurora(aws).restart("orders", Reporter(), Clock())
    assert aws.changes() == [("reboot_db_instance", {"DBInstanceIdentifier": name}) for name in rebooted]


def test_a_member_that_cannot_start_ends_the_wait() -> None:
    aws = of(cluster(), [instance("orders-1", DBInstanceStatus="incompatible-parameters"), instance("orders-2")])
    aws.answers["reboot_db_instance"] = {}
    with pytest.raises(Failed, match="incompatible-parameters"):
        aurora(aws).restart("orders", Reporter(), Clock())


class Statuses:
    """An instance that takes these statuses one after the other; the last one stays."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.rebooted_in: list[str] = []

    def aws(self) -> Aws:
        return Aws({"describe_db_instances": self.instances, "reboot_db_instance": self.reboot})

    def instances(self, **given: Any) -> Any:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        groups = [{"DBParameterGroupName": "orders", "ParameterApplyStatus": "in-sync"}]
        self.last = status
        return {"DBInstances": [instance("orders", DBInstanceStatus=status, DBParameterGroups=groups)]}

    def reboot(self, DBInstanceIdentifier: str) -> Any:
        self.rebooted_in.append(self.last)
        return {}


@pytest.mark.parametrize("status", sorted(SERVING))
def test_nothing_waits_for_exactly_available(status: str) -> None:
    clock = Clock()
    found = engine_of("postgres", Statuses(status).aws()).wait_applied("orders", Reporter(), clock)  # type: ignore[arg-type]
    assert (found.status, clock.now) == (status, 0.0)


def test_a_reboot_waits_for_the_end_of_a_backup_only() -> None:
    seen = Statuses(
        "modifying", "backing-up", "backing-up", "storage-optimization", "rebooting", "storage-optimization"
    )
    engine_of("postgres", seen.aws()).restart("orders", Reporter(), Clock())  # type: ignore[arg-type]
    assert seen.rebooted_in == ["storage-optimization"]


def test_a_parameter_group_is_attached_to_the_cluster() -> None:
    aws = of(cluster(), INSTANCES)
    aws.answers["modify_db_cluster"] = {}
    aurora(aws).attach_parameter_group("orders", "orders-encryptdb")
    given = {"DBClusterIdentifier": "orders", "DBClusterParameterGroupName": "orders-encryptdb"}
    assert aws.changes() == [("modify_db_cluster", given | {"ApplyImmediately": True})]


def test_deleting_takes_the_readers_then_the_writer_then_the_cluster_and_can_be_repeated() -> None:
    aws = of(cluster(), INSTANCES)
    aws.answers |= {"delete_db_instance": {}, "delete_db_cluster": {}}
    aurora(aws).delete(aurora(aws).find("orders"))
    assert [(o, g.get("DBInstanceIdentifier", g.get("DBClusterIdentifier"))) for o, g in aws.changes()] == [
        ("delete_db_instance", "orders-2"),
        ("delete_db_instance", "orders-1"),
        ("delete_db_cluster", "orders"),
    ]
    assert aws.changes()[-1][1]["SkipFinalSnapshot"] is True

    half = of(cluster(), [instance("orders-1"), instance("orders-2", DBInstanceStatus="deleting")])
    half.answers |= {"delete_db_instance": {}, "delete_db_cluster": {}}
    found = aurora(half).find("orders")
    assert found.deleting is False
    aurora(half).delete(found)
    assert [operation for operation, _ in half.changes()] == ["delete_db_instance", "delete_db_cluster"]


# Where it is looked.


def test_the_log_is_the_writers() -> None:
    log = aurora(of(cluster(), INSTANCES)).log("orders")
    assert (log.instance, log.since, log.stream) == ("orders-1", MADE, "orders-1")
    assert log.group == "/aws/rds/cluster/orders/postgresql"


def test_everything_that_is_plain_and_came_from_the_cluster_is_left_over() -> None:
    aws = Aws(
        {
            "describe_db_clusters": {
                "DBClusters": [
                    cluster(CloneGroupId="group", ReadReplicaIdentifiers=["orders-far"]),
                    cluster(DBClusterIdentifier="a-clone", DbClusterResourceId="cluster-CLONE", CloneGroupId="group"),
                    cluster(DBClusterIdentifier="other", DbClusterResourceId="cluster-OTHER", CloneGroupId="another"),
                ]
            },
            "describe_db_instances": {"DBInstances": []},
            "describe_db_cluster_snapshots": {
                "DBClusterSnapshots": [
                    snapshot("by-hand"),
                    snapshot("of-ours", TagList=[{"Key": "encryptdb:stack", "Value": "orders"}]),
                    snapshot("rds:orders-today", SnapshotType="automated"),
                    snapshot("encrypted", StorageEncrypted=True),
                    snapshot("under-their-key", StorageEncryptionType="sse-rds"),
                    snapshot("of-others", DbClusterResourceId="cluster-OTHER", DBClusterIdentifier="other"),
                ]
            },
            "describe_db_cluster_automated_backups": {
                "DBClusterAutomatedBackups": [{"DbClusterResourceId": "cluster-SOURCE", "StorageEncrypted": False}]
            },
            "describe_log_groups": {
                "logGroups": [
                    {"logGroupName": "/aws/rds/cluster/orders/postgresql"},
                    {"logGroupName": "/aws/rds/cluster/orders/upgrade", "kmsKeyId": "key"},
                ]
            },
        }
    )
    found = [(item.kind, item.name) for item in aurora(aws).leftovers(SOURCE, "orders")]
    assert found == [
        ("cluster", "orders"),
        ("replica cluster", "orders-far"),
        ("clone", "a-clone"),
        ("snapshot", "by-hand"),
        ("snapshot", "of-ours"),
        ("automated snapshot", "rds:orders-today"),
        ("automated backups", "cluster-SOURCE"),
        ("log group", "/aws/rds/cluster/orders/postgresql"),
    ]


def test_a_cluster_that_is_gone_leaves_its_snapshots_and_backups() -> None:
    aws = Aws(
        {
            "describe_db_clusters": {"DBClusters": []},
            "describe_db_instances": {"DBInstances": []},
            "describe_db_cluster_snapshots": {"DBClusterSnapshots": [snapshot("by-hand")]},
            "describe_log_groups": {"logGroups": []},
        }
    )
    assert [item.name for item in aurora(aws).leftovers(SOURCE, "orders")] == ["by-hand"]


def snapshot(name: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "DBClusterSnapshotIdentifier": name,
        "DBClusterIdentifier": "orders",
        "DbClusterResourceId": "cluster-SOURCE",
        "SnapshotType": "manual",
        "StorageEncrypted": False,
    }
    return plain | changes


def test_remedies_name_what_the_engine_has() -> None:
    assert WORDS["postgres"].attach("orders", "group") == (
        "aws rds modify-db-instance --db-instance-identifier orders --apply-immediately --db-parameter-group-name group"
    )
    assert WORDS["aurora-postgresql"].attach("orders", "group") == (
        "aws rds modify-db-cluster --db-cluster-identifier orders --apply-immediately"
        " --db-cluster-parameter-group-name group"
    )
    assert WORDS["aurora-postgresql"].reboot(SOURCE).endswith("--db-instance-identifier orders-1")
