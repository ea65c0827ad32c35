"""DB instances through the API: what AWS says about them, and what the servers behind them really do."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from encryptdb.lab.cluster import running_postmaster
from tests.kit.lab import Lab


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_the_source_is_described_as_aws_would(lab: Lab) -> None:
    instance = lab.instance("orders-prod")
    assert instance["Engine"] == "postgres"
    assert instance["EngineVersion"] == lab.document["postgres_version"]
    assert instance["StorageEncrypted"] is False
    assert "KmsKeyId" not in instance
    assert instance["EnabledCloudwatchLogsExports"] == ["postgresql"]
    assert instance["BackupRetentionPeriod"] == 7
    assert instance["PubliclyAccessible"] is False
    assert instance["DBSubnetGroup"]["DBSubnetGroupName"] == "orders-prod"
    assert [g["Status"] for g in instance["VpcSecurityGroups"]] == ["active"]
    assert {t["Key"]: t["Value"] for t in instance["TagList"]} == {"service": "orders", "environment": "prod"}
    assert instance["Endpoint"] == {
        "Address": lab.source["host"],
        "Port": lab.source["port"],
        "HostedZoneId": "Z2R2ITUGPM61AM",
    }


def test_every_database_asked_for_is_there_and_the_masters(lab: Lab) -> None:
    for database in ("orders", 'Billing "EU"'):
        with lab.connect(database) as connection:
            connection.execute("CREATE TABLE public.mine (id int)")
            connection.execute("DROP TABLE public.mine")


def test_a_client_without_tls_is_turned_away(lab: Lab) -> None:
    if not lab.document["tls"]:
        pytest.skip("this PostgreSQL was built without TLS")
    source = lab.source
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(
            host=source["host"],
            port=source["port"],
            user="master",
            password=source["password"],
            dbname="orders",
            sslmode="disable",
        )


def test_stop_start_and_rename(lab: Lab, rds: Any, other: str) -> None:
    before = lab.instance(other)
    rds.stop_db_instance(DBInstanceIdentifier=other)
    assert lab.settled(other, "stopped") == ["stopping", "stopped"]
    with pytest.raises(psycopg.OperationalError):
        lab.connect("app", other)
    with pytest.raises(ClientError) as error:
        rds.reboot_db_instance(DBInstanceIdentifier=other)
    assert code(error) == "InvalidDBInstanceState"
    rds.start_db_instance(DBInstanceIdentifier=other)
    assert lab.settled(other) == ["starting", "available"]

    rds.modify_db_instance(DBInstanceIdentifier=other, NewDBInstanceIdentifier="other-2", ApplyImmediately=True)
    assert lab.settled_anywhere(before["DbiResourceId"]) == "other-2"
    assert lab.show("server_version", "other-2", "app")
    with pytest.raises(ClientError) as error:
        lab.instance(other)
    assert code(error) == "DBInstanceNotFound"
    rds.modify_db_instance(DBInstanceIdentifier="other-2", NewDBInstanceIdentifier=other, ApplyImmediately=True)
    assert lab.settled_anywhere(before["DbiResourceId"]) == other
    assert lab.instance(other)["Endpoint"] == before["Endpoint"]


def test_a_server_that_dies_is_started_again(lab: Lab, rds: Any, other: str) -> None:
    data = (
        (lab.directory / "volumes").resolve() / "instances" / lab.instance(other)["DbiResourceId"] / "volume" / "data"
    )
    postmaster = running_postmaster(data)
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while running_postmaster(data) in (None, postmaster):
        assert time.monotonic() < deadline, "waited 60 s for a new postmaster"
        time.sleep(0.05)
    lab.settled(other)
    assert lab.show("server_version", other, "app")


def test_a_class_change_waits_for_the_window_unless_asked_to_act(lab: Lab, rds: Any, other: str) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=other, DBInstanceClass="db.t4g.small")
    waiting = lab.instance(other)
    assert waiting["DBInstanceStatus"] == "available"
    assert waiting["PendingModifiedValues"] == {"DBInstanceClass": "db.t4g.small"}
    assert waiting["DBInstanceClass"] == "db.t4g.micro"
    rds.modify_db_instance(DBInstanceIdentifier=other, ApplyImmediately=True)
    assert lab.settled(other) == ["modifying", "rebooting", "available"]
    done = lab.instance(other)
    assert (done["DBInstanceClass"], done["PendingModifiedValues"]) == ("db.t4g.small", {})


def test_a_protected_instance_is_not_deleted(lab: Lab, rds: Any, other: str) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=other, DeletionProtection=True, ApplyImmediately=True)
    lab.settled(other)
    with pytest.raises(ClientError) as error:
        rds.delete_db_instance(DBInstanceIdentifier=other, SkipFinalSnapshot=True)
    assert code(error) == "InvalidParameterCombination"
    rds.modify_db_instance(DBInstanceIdentifier=other, DeletionProtection=False, ApplyImmediately=True)
    lab.settled(other)


def test_deleting_leaves_the_final_snapshot_and_nothing_else(lab: Lab, rds: Any, create: Callable[..., str]) -> None:
    doomed = create("doomed")
    resource = lab.instance(doomed)["DbiResourceId"]
    with pytest.raises(ClientError) as error:
        rds.delete_db_instance(DBInstanceIdentifier=doomed)
    assert code(error) == "InvalidParameterCombination"
    rds.delete_db_instance(DBInstanceIdentifier=doomed, FinalDBSnapshotIdentifier="doomed-final")
    assert lab.gone(doomed) == ["deleting"]
    assert lab.snapshot("doomed-final")["Status"] == "available"
    assert not (lab.directory / "volumes" / "instances" / resource).exists()
    rds.delete_db_snapshot(DBSnapshotIdentifier="doomed-final")


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("create_db_instance", {"DBInstanceIdentifier": "orders-prod"}, "DBInstanceAlreadyExists"),
        ("create_db_instance", {"EngineVersion": "9.6"}, "InvalidParameterCombination"),
        ("create_db_instance", {"DBParameterGroupName": "none"}, "DBParameterGroupNotFound"),
        ("create_db_instance", {"DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault"),
        ("create_db_instance", {"StorageEncrypted": True, "KmsKeyId": "alias/none"}, "KMSKeyNotAccessibleFault"),
        ("reboot_db_instance", {"DBInstanceIdentifier": "none"}, "DBInstanceNotFound"),
    ],
)
def test_what_aws_refuses_is_refused(lab: Lab, rds: Any, call: str, arguments: dict[str, Any], expected: str) -> None:
    complete = {
        "DBInstanceIdentifier": "other-9",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "AllocatedStorage": 20,
        "MasterUsername": "master",
        "MasterUserPassword": "long enough",
    }
    if call != "create_db_instance":
        complete = {}
    with pytest.raises(ClientError) as error:
        getattr(rds, call)(**{**complete, **arguments})
    assert code(error) == expected
    assert "other-9" not in [i["DBInstanceIdentifier"] for i in rds.describe_db_instances()["DBInstances"]]


def test_engine_versions_are_this_labs_one(lab: Lab, rds: Any) -> None:
    (only,) = rds.describe_db_engine_versions(Engine="postgres")["DBEngineVersions"]
    assert only["EngineVersion"] == lab.document["postgres_version"]
    assert rds.describe_db_engine_versions(Engine="mysql")["DBEngineVersions"] == []
