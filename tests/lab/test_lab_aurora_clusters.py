"""Aurora clusters through the API, and the writer and readers behind them."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from encryptdb.lab.cluster import running_postmaster
from encryptdb.lab.processes import wait_until
from tests.kit.lab import Lab

WRITER, READER = "orders-prod-1", "orders-prod-2"


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def rds(aurora: Lab) -> Any:
    return aurora.client("rds")


def family(lab: Lab) -> str:
    return f"aurora-postgresql{lab.document['postgres_version'].split('.')[0]}"


def at(lab: Lab, host: str, database: str = "orders") -> "psycopg.Connection[Any]":
    """A session of the master at an address."""
    tls: dict[str, Any] = (
        {"sslmode": "verify-full", "sslrootcert": lab.env["PGSSLROOTCERT"]}
        if lab.document["tls"]
        else {"sslmode": "disable"}
    )
    source = lab.source
    return psycopg.connect(
        host=host,
        port=source["port"],
        user="master",
        password=source["password"],
        dbname=database,
        autocommit=True,
        connect_timeout=10,
        **tls,
    )


def one(lab: Lab, host: str, query: str, database: str = "orders") -> Any:
    with at(lab, host, database) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def status(lab: Lab, member: str) -> str:
    """Whether a member's cluster parameters wait for a reboot."""
    members = lab.cluster("orders-prod")["DBClusterMembers"]
    return str(next(m["DBClusterParameterGroupStatus"] for m in members if m["DBInstanceIdentifier"] == member))


def test_the_cluster_is_described_as_aws_would(aurora: Lab) -> None:
    cluster = aurora.cluster("orders-prod")
    assert (cluster["Engine"], cluster["EngineMode"]) == ("aurora-postgresql", "provisioned")
    assert cluster["EngineVersion"] == aurora.document["postgres_version"]
    assert (cluster["StorageEncrypted"], cluster["StorageEncryptionType"]) == (False, "none")
    assert "KmsKeyId" not in cluster
    assert cluster["DbClusterResourceId"] == aurora.source["resource_id"]
    assert cluster["DBClusterParameterGroup"] == "orders-prod"
    assert cluster["EnabledCloudwatchLogsExports"] == ["postgresql"]
    assert (cluster["Endpoint"], cluster["ReaderEndpoint"]) == (aurora.source["host"], aurora.source["reader_host"])
    assert [(m["DBInstanceIdentifier"], m["IsClusterWriter"]) for m in cluster["DBClusterMembers"]] == [
        (WRITER, True),
        (READER, False),
    ]
    assert {t["Key"]: t["Value"] for t in cluster["TagList"]} == {"service": "orders", "environment": "prod"}


def test_its_instances_are_described_as_members(aurora: Lab, rds: Any) -> None:
    filters = [{"Name": "db-cluster-id", "Values": ["orders-prod"]}]
    writer, reader = rds.describe_db_instances(Filters=filters)["DBInstances"]
    for member in (writer, reader):
        assert member["DBClusterIdentifier"] == "orders-prod"
        assert (member["Engine"], member["StorageType"]) == ("aurora-postgresql", "aurora")
        assert (member["StorageEncrypted"], member["StorageEncryptionType"]) == (False, "none")
        assert member["DBParameterGroups"][0]["DBParameterGroupName"] == f"default.{family(aurora)}"
    assert writer["Endpoint"]["Address"] == aurora.cluster("orders-prod")["Endpoint"]
    assert reader["Endpoint"]["Address"] not in (writer["Endpoint"]["Address"], aurora.source["reader_host"])


def test_what_the_writer_writes_is_read_through_the_reader_endpoint(aurora: Lab) -> None:
    with aurora.connect() as connection:
        connection.execute("CREATE TABLE seen (n int)")
        connection.execute("INSERT INTO seen VALUES (7)")
    endpoint = aurora.source["reader_host"]
    wait_until(lambda: one(aurora, endpoint, "SELECT to_regclass('seen')") is not None, "the table on the reader", 30)
    wait_until(lambda: one(aurora, endpoint, "SELECT sum(n) FROM seen") == 7, "the row on the reader", 30)
    assert one(aurora, endpoint, "SELECT pg_is_in_recovery()") is True
    with at(aurora, endpoint) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO seen VALUES (8)")


def test_the_reader_takes_no_slot_and_holds_nothing_back(aurora: Lab) -> None:
    with aurora.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
        (row,) = connection.execute(
            "SELECT s.usename, s.application_name, s.sync_state, a.backend_xmin, a.datname "
            "FROM pg_stat_replication s JOIN pg_stat_activity a USING (pid)"
        ).fetchall()
    assert row == ("rdsadmin", f"aurora reader (lab) {READER}", "async", None, None)


def test_the_password_of_the_readers_connection_cannot_be_read(aurora: Lab) -> None:
    found = one(aurora, aurora.source["reader_host"], "SELECT current_setting('primary_conninfo')")
    assert "passfile" in found
    assert "password" not in found.replace("passfile", "")


@pytest.mark.parametrize("database", ["orders", "postgres", "made_later"])
def test_auroras_functions_are_in_every_database_and_say_whose_they_are(aurora: Lab, database: str) -> None:
    with aurora.connect() as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(f"CREATE DATABASE {database}".encode())
    host = aurora.source["host"]
    assert one(aurora, host, "SELECT aurora_version()", database) == f"{aurora.document['postgres_version']}.0"
    assert one(aurora, host, "SELECT aurora_volume_logical_start_lsn() < pg_current_wal_lsn()", database) is True
    described = (
        "SELECT string_agg(obj_description(oid), ' ') FROM pg_proc WHERE proname ~ '^aurora_' GROUP BY pronamespace"
    )
    assert one(aurora, host, described, database).count("Made by the lab, not by Aurora") == 3


def test_the_start_of_the_logical_log_is_nothing_that_a_session_can_set(aurora: Lab) -> None:
    with aurora.connect() as connection:
        before = connection.execute("SELECT aurora_volume_logical_start_lsn()").fetchone()
        connection.execute("SET lab.volume_logical_start_lsn = '1/1'")
        assert connection.execute("SELECT aurora_volume_logical_start_lsn()").fetchone() == before


def test_replica_status_names_the_writer_and_its_readers(aurora: Lab) -> None:
    query = "SELECT server_id, session_id = 'MASTER_SESSION_ID' FROM aurora_replica_status() ORDER BY 1"
    with aurora.connect() as connection:
        assert connection.execute(query).fetchall() == [(WRITER, True), (READER, False)]
    with at(aurora, aurora.source["reader_host"]) as connection:
        assert connection.execute(query).fetchall() == [(READER, False)]


@pytest.fixture
def logical(aurora: Lab, rds: Any) -> Iterator[str]:
    """A cluster parameter group with logical replication, not attached yet; later the cluster has its own again."""
    name = "logical"
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=name, DBParameterGroupFamily=family(aurora), Description="-"
    )
    values = {"rds.logical_replication": "1", "max_wal_senders": "31", "work_mem": "9000"}
    rds.modify_db_cluster_parameter_group(
        DBClusterParameterGroupName=name,
        Parameters=[
            {"ParameterName": n, "ParameterValue": v, "ApplyMethod": "pending-reboot"} for n, v in values.items()
        ],
    )
    yield name
    attach(aurora, rds, "orders-prod")
    for member in (WRITER, READER):
        reboot(aurora, rds, member)
    rds.delete_db_cluster_parameter_group(DBClusterParameterGroupName=name)


def attach(aurora: Lab, rds: Any, group: str) -> None:
    rds.modify_db_cluster(DBClusterIdentifier="orders-prod", DBClusterParameterGroupName=group, ApplyImmediately=True)
    assert aurora.cluster_settled("orders-prod") == ["modifying", "available"]


def reboot(aurora: Lab, rds: Any, member: str) -> None:
    rds.reboot_db_instance(DBInstanceIdentifier=member)
    assert aurora.settled(member) == ["rebooting", "available"]
    aurora.cluster_settled("orders-prod")


def test_a_cluster_group_acts_at_the_writers_reboot_and_for_a_reader_at_its_own(
    aurora: Lab, rds: Any, logical: str
) -> None:
    endpoint = aurora.source["reader_host"]
    attach(aurora, rds, logical)
    assert (status(aurora, WRITER), status(aurora, READER)) == ("pending-reboot", "pending-reboot")
    assert aurora.show("wal_level") == "replica"

    reboot(aurora, rds, WRITER)
    assert (status(aurora, WRITER), status(aurora, READER)) == ("in-sync", "pending-reboot")
    assert (aurora.show("wal_level"), aurora.show("max_wal_senders")) == ("logical", "31")
    # A replica with fewer than its primary would not replay: that much it was given, and no more.
    assert one(aurora, endpoint, "SELECT current_setting('max_wal_senders')") == "31"
    assert one(aurora, endpoint, "SELECT current_setting('work_mem')") == "8MB"

    reboot(aurora, rds, READER)
    assert (status(aurora, WRITER), status(aurora, READER)) == ("in-sync", "in-sync")
    assert one(aurora, endpoint, "SELECT current_setting('work_mem')") == "9000kB"
    with aurora.connect() as connection:
        connection.execute("CREATE TABLE after_reboots ()")
    wait_until(lambda: one(aurora, endpoint, "SELECT to_regclass('after_reboots')") is not None, "the reader", 30)


def test_a_dynamic_cluster_parameter_acts_at_once_on_every_instance(aurora: Lab, rds: Any) -> None:
    change = {"ParameterName": "work_mem", "ParameterValue": "8193", "ApplyMethod": "immediate"}
    rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName="orders-prod", Parameters=[change])
    for member in (WRITER, READER):
        wait_until(lambda m=member: aurora.show("work_mem", m) == "8193kB", f"{member} to hear of its work_mem", 30)  # type: ignore[misc]
        assert status(aurora, member) == "in-sync"
    change["ParameterValue"] = "8192"
    rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName="orders-prod", Parameters=[change])


def test_user_set_cluster_parameters_can_be_told_from_the_rest(rds: Any) -> None:
    rows = rds.describe_db_cluster_parameters(DBClusterParameterGroupName="orders-prod", Source="user")["Parameters"]
    found = {r["ParameterName"]: (r["ParameterValue"], r["ApplyType"]) for r in rows}
    assert found == {"work_mem": ("8192", "dynamic"), "max_locks_per_transaction": ("128", "static")}
    pages = rds.get_paginator("describe_db_cluster_parameters").paginate(DBClusterParameterGroupName="orders-prod")
    names = [p["ParameterName"] for page in pages for p in page["Parameters"]]
    assert len(names) == len(set(names)) > 250


def test_a_cluster_group_in_use_or_default_is_left_alone(aurora: Lab, rds: Any) -> None:
    with pytest.raises(ClientError) as error:
        rds.delete_db_cluster_parameter_group(DBClusterParameterGroupName="orders-prod")
    assert code(error) == "InvalidDBParameterGroupState"
    with pytest.raises(ClientError) as error:
        rds.reset_db_cluster_parameter_group(
            DBClusterParameterGroupName=f"default.{family(aurora)}", ResetAllParameters=True
        )
    assert code(error) == "InvalidParameterValue"


def test_a_writer_that_dies_is_started_again_and_its_reader_follows(aurora: Lab) -> None:
    volumes = (aurora.directory / "volumes").resolve()
    data = volumes / "instances" / aurora.source["resource_id"] / "volume" / "data"
    # The writer's storage is the cluster's, and is found under both names.
    assert (volumes / "instances" / aurora.instance(WRITER)["DbiResourceId"]).resolve() == data.parent.parent
    postmaster = running_postmaster(data)
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while running_postmaster(data) in (None, postmaster):
        assert time.monotonic() < deadline, "waited 60 s for a new postmaster"
        time.sleep(0.05)
    aurora.cluster_settled("orders-prod")
    with aurora.connect() as connection:
        connection.execute("CREATE TABLE after_death ()")
    endpoint = aurora.source["reader_host"]
    wait_until(lambda: one(aurora, endpoint, "SELECT to_regclass('after_death')") is not None, "the reader", 30)


def test_a_stopped_cluster_starts_writer_first_and_is_whole_again(aurora: Lab, rds: Any) -> None:
    rds.stop_db_cluster(DBClusterIdentifier="orders-prod")
    assert aurora.cluster_settled("orders-prod", "stopped") == ["stopping", "stopped"]
    with pytest.raises(psycopg.OperationalError):
        aurora.connect()
    rds.start_db_cluster(DBClusterIdentifier="orders-prod")
    assert aurora.cluster_settled("orders-prod") == ["starting", "available"]
    endpoint = aurora.source["reader_host"]
    wait_until(lambda: one(aurora, endpoint, "SELECT pg_is_in_recovery()") is True, "the reader", 30)


def test_a_reader_endpoint_without_a_reader_leads_to_the_writer(aurora: Lab, rds: Any) -> None:
    rds.delete_db_instance(DBInstanceIdentifier=READER)
    assert aurora.gone(READER) == ["deleting"]
    endpoint = aurora.source["reader_host"]
    assert aurora.cluster("orders-prod")["ReaderEndpoint"] == endpoint
    assert one(aurora, endpoint, "SELECT pg_is_in_recovery()") is False
    rds.create_db_instance(
        DBInstanceIdentifier=READER,
        DBClusterIdentifier="orders-prod",
        DBInstanceClass="db.r6g.large",
        Engine="aurora-postgresql",
    )
    assert aurora.settled(READER) == ["creating", "available"]
    assert one(aurora, endpoint, "SELECT pg_is_in_recovery()") is True


OF_AURORA = {"DBClusterIdentifier": "orders-prod", "DBInstanceClass": "db.r6g.large", "Engine": "aurora-postgresql"}


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        ("reboot_db_cluster", {"DBClusterIdentifier": "orders-prod"}, "InvalidDBClusterStateFault"),
        ("failover_db_cluster", {"DBClusterIdentifier": "orders-prod"}, "InvalidDBClusterStateFault"),
        ("start_db_cluster", {"DBClusterIdentifier": "orders-prod"}, "InvalidDBClusterStateFault"),
        ("stop_db_instance", {"DBInstanceIdentifier": WRITER}, "InvalidParameterValue"),
        ("delete_db_instance", {"DBInstanceIdentifier": WRITER}, "InvalidDBClusterStateFault"),
        (
            "delete_db_instance",
            {"DBInstanceIdentifier": READER, "FinalDBSnapshotIdentifier": "never"},
            "InvalidParameterCombination",
        ),
        (
            "create_db_snapshot",
            {"DBInstanceIdentifier": WRITER, "DBSnapshotIdentifier": "never"},
            "InvalidParameterValue",
        ),
        (
            "create_db_instance",
            OF_AURORA | {"DBInstanceIdentifier": "never", "MasterUserPassword": "of-the-cluster"},
            "InvalidParameterCombination",
        ),
        (
            "create_db_instance",
            OF_AURORA | {"DBInstanceIdentifier": "never", "Engine": "postgres"},
            "InvalidParameterCombination",
        ),
        (
            "modify_db_instance",
            {"DBInstanceIdentifier": WRITER, "BackupRetentionPeriod": 3},
            "InvalidParameterCombination",
        ),
        (
            "delete_db_cluster",
            {"DBClusterIdentifier": "orders-prod", "SkipFinalSnapshot": True},
            "InvalidDBClusterStateFault",
        ),
        (
            "modify_db_cluster",
            {"DBClusterIdentifier": "orders-prod", "DBClusterParameterGroupName": "none"},
            "DBParameterGroupNotFound",
        ),
        ("modify_db_cluster", {"DBClusterIdentifier": "none"}, "DBClusterNotFoundFault"),
        (
            "create_db_cluster",
            {
                "DBClusterIdentifier": "never",
                "Engine": "aurora-postgresql",
                "EngineMode": "serverless",
                "MasterUsername": "master",
                "MasterUserPassword": "long-enough",
            },
            "InvalidParameterCombination",
        ),
    ],
)
def test_what_aws_or_the_lab_does_not_do_with_a_cluster_is_refused(
    rds: Any, operation: str, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ClientError) as error:
        getattr(rds, operation)(**arguments)
    assert code(error) == expected


def test_the_engines_versions_are_told_for_aurora_too(aurora: Lab, rds: Any) -> None:
    (only,) = rds.describe_db_engine_versions(Engine="aurora-postgresql")["DBEngineVersions"]
    assert (only["EngineVersion"], only["DBParameterGroupFamily"]) == (
        aurora.document["postgres_version"],
        family(aurora),
    )
