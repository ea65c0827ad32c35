"""DB instances through the API: what AWS says about them, and what the servers behind them really do."""

import os
import signal
import time
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from lab.cluster import running_postmaster
from tests.lab_fixture import Lab


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def rds(lab: Lab) -> Any:
    return lab.client("rds")


@pytest.fixture(scope="module")
def group(lab: Lab, rds: Any) -> str:
    """A group that turns logical replication on and gives work_mem another value."""
    family = f"postgres{lab.document['postgres_version'].split('.')[0]}"
    rds.create_db_parameter_group(DBParameterGroupName="logical", DBParameterGroupFamily=family, Description="-")
    values = {"rds.logical_replication": "1", "track_commit_timestamp": "1", "work_mem": "9000"}
    rds.modify_db_parameter_group(
        DBParameterGroupName="logical",
        Parameters=[
            {"ParameterName": n, "ParameterValue": v, "ApplyMethod": "pending-reboot"} for n, v in values.items()
        ],
    )
    return "logical"


@pytest.fixture(scope="module")
def other(lab: Lab, rds: Any) -> str:
    """An instance to be rebooted, stopped and renamed; every test leaves it available."""
    key = lab.client("kms").create_key()["KeyMetadata"]["Arn"]
    name = create(lab, rds, "other-1", StorageEncrypted=True, KmsKeyId=key)
    assert (lab.instance(name)["StorageEncrypted"], lab.instance(name)["KmsKeyId"]) == (True, key)
    return name


def create(lab: Lab, rds: Any, name: str, **more: Any) -> str:
    """A small instance."""
    rds.create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        DBName="app",
        MasterUsername="master",
        MasterUserPassword=lab.source["password"],
        BackupRetentionPeriod=0,
        **more,
    )
    lab.settled(name)
    return name


def show(lab: Lab, setting: str, instance: str | None = None, database: str | None = None) -> str:
    with lab.connect(database, instance) as connection:
        row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
        assert row is not None
        return str(row[0])


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


def test_user_set_parameters_can_be_told_from_the_rest(rds: Any) -> None:
    rows = rds.describe_db_parameters(DBParameterGroupName="orders-prod", Source="user")["Parameters"]
    found = {r["ParameterName"]: (r["ParameterValue"], r["ApplyType"]) for r in rows}
    assert found == {"work_mem": ("8192", "dynamic"), "max_locks_per_transaction": ("128", "static")}


def test_parameters_come_in_pages_as_on_aws(rds: Any) -> None:
    first = rds.describe_db_parameters(DBParameterGroupName="orders-prod")
    assert len(first["Parameters"]) == 100
    pages = rds.get_paginator("describe_db_parameters").paginate(DBParameterGroupName="orders-prod")
    names = [p["ParameterName"] for page in pages for p in page["Parameters"]]
    assert len(names) == len(set(names)) > 250


def test_the_default_group_is_there_and_cannot_be_changed(lab: Lab, rds: Any) -> None:
    name = f"default.postgres{lab.document['postgres_version'].split('.')[0]}"
    assert rds.describe_db_parameter_groups(DBParameterGroupName=name)["DBParameterGroups"]
    with pytest.raises(ClientError) as error:
        rds.reset_db_parameter_group(DBParameterGroupName=name)
    assert code(error) == "InvalidParameterValue"


def test_a_dynamic_parameter_acts_at_once_on_the_running_server(lab: Lab, rds: Any) -> None:
    change = {"ParameterName": "work_mem", "ParameterValue": "8193", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName="orders-prod", Parameters=[change])
    seen = {show(lab, "work_mem") for _ in range(20)}
    assert "8193kB" in seen
    assert lab.instance("orders-prod")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    change["ParameterValue"] = "8192"
    rds.modify_db_parameter_group(DBParameterGroupName="orders-prod", Parameters=[change])


def test_an_attached_group_acts_at_the_reboot_and_not_before(lab: Lab, rds: Any, group: str, other: str) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=other, DBParameterGroupName=group, ApplyImmediately=True)
    lab.settled(other)
    assert lab.instance(other)["DBParameterGroups"] == [
        {"DBParameterGroupName": group, "ParameterApplyStatus": "pending-reboot"}
    ]
    assert show(lab, "wal_level", other, "app") == "replica"
    assert show(lab, "work_mem", other, "app") == "4MB"

    rds.reboot_db_instance(DBInstanceIdentifier=other)
    assert lab.settled(other) == ["rebooting", "available"]
    assert lab.instance(other)["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    assert show(lab, "wal_level", other, "app") == "logical"
    assert show(lab, "rds.logical_replication", other, "app") == "on"
    assert show(lab, "work_mem", other, "app") == "9000kB"


def test_taking_logical_replication_away_under_a_slot_leaves_a_server_that_does_not_start(
    lab: Lab, rds: Any, group: str, other: str
) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=other, DBParameterGroupName=group, ApplyImmediately=True)
    lab.settled(other)
    rds.reboot_db_instance(DBInstanceIdentifier=other)
    lab.settled(other)
    with lab.connect("app", other) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    default = f"default.postgres{lab.document['postgres_version'].split('.')[0]}"

    rds.modify_db_instance(DBInstanceIdentifier=other, DBParameterGroupName=default, ApplyImmediately=True)
    lab.settled(other)
    rds.reboot_db_instance(DBInstanceIdentifier=other)
    assert lab.settled(other, "incompatible-parameters")[-1] == "incompatible-parameters"
    with pytest.raises(psycopg.OperationalError):
        lab.connect("app", other)

    rds.modify_db_instance(DBInstanceIdentifier=other, DBParameterGroupName=group, ApplyImmediately=True)
    lab.settled(other, "incompatible-parameters")
    rds.reboot_db_instance(DBInstanceIdentifier=other)
    lab.settled(other)
    assert show(lab, "wal_level", other, "app") == "logical"
    with lab.connect("app", other) as connection:
        connection.execute("SELECT pg_drop_replication_slot('s')")


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
    assert show(lab, "server_version", "other-2", "app")
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
    assert show(lab, "server_version", other, "app")


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


def test_deleting_leaves_the_final_snapshot_and_nothing_else(lab: Lab, rds: Any) -> None:
    doomed = create(lab, rds, "doomed")
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
