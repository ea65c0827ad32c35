"""What `init` refuses, before a file is written: message, meaning, remedy and status."""

from pathlib import Path
from typing import Any

import pytest

from encryptdb.stacks.cloud.client import Aws
from tests.init.made import altered, refusing
from tests.init.world import Result, init
from tests.kit.lab import Lab

Capture = pytest.CaptureFixture[str]
AWS = "encryptdb.controller.commands.init.Aws"


def refused(ended: Result, status: int, project: Path) -> dict[str, str]:
    """The error, which is the same in words and in JSON; nothing was written."""
    assert ended.status == status, ended.err
    error: dict[str, str] = ended.document["error"]
    assert ended.document["status"] == status
    assert error["message"] in ended.err
    assert error["hint"]
    assert error["hint"] in ended.err
    assert list((project / "stacks").iterdir()) == []
    return error


class Untouched(Aws):
    """Fails the test where AWS is asked at all."""

    def client(self, service: str) -> Any:
        raise AssertionError(f"{service} was asked")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["arn:aws:rds:eu-central-1:111122223333:db:orders-prod"], "is an ARN", "Give orders-prod"),
        (["orders_prod"], "cannot be the identifier", "hyphens"),
        (["x" * 64], "cannot be the identifier", "63"),
        (["orders-prod", "--stack", "me/encryptdb/orders"], "is not a valid stack name", "--stack"),
        (["orders-prod", "--stack", ".."], "is not a valid stack name", "--stack"),
        (["orders-prod", "--stack", "s" * 101], "is not a valid stack name", "--stack"),
        (["orders-prod", "--output", "nowhere/x.yaml"], "The directory nowhere does not exist", "Pulumi.yaml"),
        (["orders-prod", "--output", "stacks"], "stacks is a directory", "--output"),
        (["orders-prod", "--output", "Pulumi.yaml"], "Pulumi.yaml already exists", "--force"),
        (["orders-prod", "--output", "-"], "both write to stdout", "--output"),
    ],
)
def test_wrong_usage_ends_before_aws_is_asked(
    rds: Lab,
    project: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    hint: str,
) -> None:
    monkeypatch.setattr(AWS, Untouched)
    error = refused(init(rds, capsys, *arguments, "--json"), 2, project)
    assert message in error["message"]
    assert hint in error["hint"]


def test_without_a_region_nobody_is_asked(
    rds: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AWS, Untouched)
    monkeypatch.setattr(rds, "env", {k: v for k, v in rds.env.items() if "REGION" not in k})
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert "--region" in refused(init(rds, capsys, "orders-prod", "--json"), 2, project)["hint"]


def test_a_profile_that_is_not_there(rds: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refused(init(rds, capsys, "orders-prod", "--json"), 2, project)["detail"]


def test_a_source_that_is_not_there_is_told_with_those_that_are_near(rds: Lab, project: Path, capsys: Capture) -> None:
    error = refused(init(rds, capsys, "order-prod", "--json"), 2, project)
    assert error["message"] == "There is no RDS instance and no Aurora cluster order-prod in eu-central-1."
    assert error["detail"] == "There is orders-prod."
    elsewhere = refused(init(rds, capsys, "orders-prod", "--region", "us-east-1", "--json"), 2, project)
    assert "in us-east-1" in elsewhere["message"]
    assert "--region" in elsewhere["hint"]


def test_what_is_there_is_not_said_to_be_nothing_when_it_cannot_be_listed(
    rds: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(Aws):
        def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Any:
            yield from refusing("rds.DescribeDBInstances")(self.region).pages(service, operation, key, **parameters)

    monkeypatch.setattr(AWS, Blind)
    assert refused(init(rds, capsys, "order-prod", "--json"), 2, project)["detail"] == (
        "The databases of the region could not be listed."
    )


@pytest.mark.parametrize("operation", ["DescribeDBInstances", "DescribeDBClusters"])
def test_without_the_right_to_see_the_source_there_is_no_file(
    rds: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(AWS, refusing(f"rds.{operation}"))
    error = refused(init(rds, capsys, "orders-prod", "--json"), 1, project)
    assert "AccessDeniedException" in error["detail"]
    assert f"rds:{operation}".lower() in error["hint"].lower()


def test_an_aws_that_does_not_answer(rds: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rds, "env", rds.env | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert "does not answer" in refused(init(rds, capsys, "orders-prod", "--json"), 1, project)["message"]


@pytest.mark.parametrize(
    ("attributes", "status", "message", "hint"),
    [
        ({"Engine": "mysql"}, 4, "orders-prod runs mysql", "Aurora PostgreSQL cluster"),
        ({"ReadReplicaSourceDBInstanceIdentifier": "orders-main"}, 4, "is a read replica of", "init orders-main"),
        ({"ReadReplicaSourceDBClusterIdentifier": "orders-all"}, 4, "is a read replica of", "init orders-all"),
        ({"TagList": [{"Key": "encryptdb:stack", "Value": "orders-prod"}]}, 4, "own target", "stack of its own"),
        ({"Endpoint": None, "DBInstanceStatus": "creating"}, 3, "is creating", "until it is available"),
    ],
)
def test_an_instance_that_cannot_be_encrypted_here(
    rds: Lab,
    project: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    attributes: dict[str, Any],
    status: int,
    message: str,
    hint: str,
) -> None:
    monkeypatch.setattr(AWS, altered("rds.DescribeDBInstances", "DBInstances", **attributes))
    error = refused(init(rds, capsys, "orders-prod", "--json"), status, project)
    assert message in error["message"]
    assert hint in error["hint"]


@pytest.mark.parametrize(
    ("attributes", "message", "hint"),
    [
        ({"Engine": "postgres"}, "is a Multi-AZ DB cluster", "restore"),
        ({"Engine": "aurora-mysql"}, "runs aurora-mysql", "Aurora PostgreSQL cluster"),
        ({"GlobalClusterIdentifier": "world"}, "belongs to a Global Database (world)", "RemoveFromGlobalCluster"),
        ({"EngineMode": "global"}, "belongs to a Global Database", "RemoveFromGlobalCluster"),
        ({"EngineMode": "serverless"}, "is Serverless v1", "Serverless v2"),
        ({"ClusterScalabilityType": "limitless"}, "is an Aurora Limitless Database", "cannot be encrypted"),
        ({"ReplicationSourceIdentifier": "arn:aws:rds:eu-central-1:1:db:x"}, "replicates arn:", "Promote it"),
        ({"DBClusterMembers": []}, "has no instance", "Add an instance"),
        ({"Status": "creating"}, "is creating", "until it is available"),
    ],
)
def test_a_cluster_that_cannot_be_encrypted_here(
    aurora: Lab,
    project: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    attributes: dict[str, Any],
    message: str,
    hint: str,
) -> None:
    monkeypatch.setattr(AWS, altered("rds.DescribeDBClusters", "DBClusters", **attributes))
    status = 3 if "Status" in attributes else 4
    error = refused(init(aurora, capsys, "orders-prod", "--json"), status, project)
    assert message in error["message"]
    assert hint.lower() in error["hint"].lower()


def test_an_instance_of_a_cluster_is_told_which_cluster(aurora: Lab, project: Path, capsys: Capture) -> None:
    error = refused(init(aurora, capsys, "orders-prod-1", "--json"), 4, project)
    assert error["message"] == "orders-prod-1 is an instance of the cluster orders-prod."
    assert error["hint"] == "Name orders-prod instead. encryptdb init orders-prod"


def test_one_name_for_an_instance_and_a_cluster_is_no_name(
    aurora: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(Aws):
        def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
            if operation == "describe_db_instances":
                instance = aurora.instance("orders-prod-1")
                instance.pop("DBClusterIdentifier")
                return {"DBInstances": [instance | {"DBInstanceIdentifier": "orders-prod"}]}
            return super().call(service, operation, **parameters)

    monkeypatch.setattr(AWS, Twice)
    error = refused(init(aurora, capsys, "orders-prod", "--json"), 4, project)
    assert "an RDS instance and of a cluster" in error["message"]


def test_source_is_needed(rds: Lab, project: Path, capsys: Capture) -> None:
    ended = init(rds, capsys)
    assert ended.status == 2
    assert "SOURCE" in ended.err
