"""DB parameter groups: what they show, what they refuse, and when they act on a real server."""

from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from encryptdb.lab.processes import wait_until
from tests.kit.lab import Lab


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


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


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("max_connections", "immediate", "InvalidParameterCombination"),
        ("wal_level", "pending-reboot", "InvalidParameterValue"),
        ("no_such_parameter", "immediate", "InvalidParameterValue"),
    ],
)
def test_a_parameter_that_cannot_be_set_so_is_refused(rds: Any, name: str, method: str, expected: str) -> None:
    change = {"ParameterName": name, "ParameterValue": "5", "ApplyMethod": method}
    with pytest.raises(ClientError) as error:
        rds.modify_db_parameter_group(DBParameterGroupName="orders-prod", Parameters=[change])
    assert code(error) == expected


def test_a_dynamic_parameter_acts_at_once_on_the_running_server(lab: Lab, rds: Any) -> None:
    change = {"ParameterName": "work_mem", "ParameterValue": "8193", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName="orders-prod", Parameters=[change])
    wait_until(lambda: lab.show("work_mem") == "8193kB", "the running server to hear of its work_mem", 30)
    assert lab.instance("orders-prod")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    change["ParameterValue"] = "8192"
    rds.modify_db_parameter_group(DBParameterGroupName="orders-prod", Parameters=[change])


def test_an_attached_group_acts_at_the_reboot_and_not_before(lab: Lab, rds: Any, group: str, other: str) -> None:
    rds.modify_db_instance(DBInstanceIdentifier=other, DBParameterGroupName=group, ApplyImmediately=True)
    lab.settled(other)
    assert lab.instance(other)["DBParameterGroups"] == [
        {"DBParameterGroupName": group, "ParameterApplyStatus": "pending-reboot"}
    ]
    assert lab.show("wal_level", other, "app") == "replica"
    assert lab.show("work_mem", other, "app") == "4MB"

    rds.reboot_db_instance(DBInstanceIdentifier=other)
    assert lab.settled(other) == ["rebooting", "available"]
    assert lab.instance(other)["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    assert lab.show("wal_level", other, "app") == "logical"
    assert lab.show("rds.logical_replication", other, "app") == "on"
    assert lab.show("work_mem", other, "app") == "9000kB"


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
    assert lab.show("wal_level", other, "app") == "logical"
    with lab.connect("app", other) as connection:
        connection.execute("SELECT pg_drop_replication_slot('s')")
