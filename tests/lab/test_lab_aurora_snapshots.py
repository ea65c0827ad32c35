"""Cluster snapshots: taken under load, never encrypted by a copy, restored with a key, whole clusters deleted."""

import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from encryptdb.lab.processes import wait_until
from tests.kit.lab import Lab

MARKER = "marker-91be-kept-in-a-cluster"


@dataclass
class Writer:
    """Commits 1, 2, 3 … one by one until stopped; remembers where the server's WAL was after each."""

    lab: Lab
    after: dict[int, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with self.lab.connect() as connection:
            while not self.stopped.is_set():
                n = len(self.after) + 1
                connection.execute("INSERT INTO written VALUES (%s, %s)", [n, MARKER])
                row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
                assert row is not None
                self.after[n] = row[0]

    def reach(self, more: int) -> None:
        wanted, deadline = len(self.after) + more, time.monotonic() + 30
        while len(self.after) < wanted:
            assert time.monotonic() < deadline, f"waited 30 s for {more} commits"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def rds(aurora: Lab) -> Any:
    return aurora.client("rds")


@pytest.fixture(scope="module")
def key(aurora: Lab) -> str:
    return str(aurora.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def taken(aurora: Lab, rds: Any) -> Iterator[Writer]:
    """The source, logical, with a slot; cluster snapshot `plain` taken while it is written to."""
    family = f"aurora-postgresql{aurora.document['postgres_version'].split('.')[0]}"
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="snapshots", DBParameterGroupFamily=family, Description="-"
    )
    rds.modify_db_cluster_parameter_group(
        DBClusterParameterGroupName="snapshots",
        Parameters=[
            {"ParameterName": "rds.logical_replication", "ParameterValue": "1", "ApplyMethod": "pending-reboot"}
        ],
    )
    rds.modify_db_cluster(DBClusterIdentifier="orders-prod", DBClusterParameterGroupName="snapshots")
    aurora.cluster_settled("orders-prod")
    rds.reboot_db_instance(DBInstanceIdentifier="orders-prod-1")
    aurora.cluster_settled("orders-prod")
    with aurora.connect() as connection:
        connection.execute("CREATE TABLE written (n int PRIMARY KEY, what text)")
        connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    writer = Writer(aurora)
    thread = threading.Thread(target=writer.run)
    thread.start()
    writer.reach(50)
    rds.create_db_cluster_snapshot(DBClusterIdentifier="orders-prod", DBClusterSnapshotIdentifier="plain")
    assert aurora.cluster_snapshot_settled("plain") == ["creating", "available"]
    writer.reach(20)
    writer.stopped.set()
    thread.join()
    aurora.cluster_settled("orders-prod")
    yield writer
    with aurora.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('s')")
        connection.execute("DROP TABLE written")
    rds.modify_db_cluster(DBClusterIdentifier="orders-prod", DBClusterParameterGroupName="orders-prod")
    aurora.cluster_settled("orders-prod")
    for member in ("orders-prod-1", "orders-prod-2"):
        rds.reboot_db_instance(DBInstanceIdentifier=member)
        aurora.cluster_settled("orders-prod")


@pytest.fixture(scope="module")
def restored(aurora: Lab, rds: Any, taken: Writer, key: str) -> str:
    """`plain` restored under a key as the cluster `encrypted`, with a writer and a reader."""
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="encrypted",
        SnapshotIdentifier=aurora.cluster_snapshot("plain")["DBClusterSnapshotArn"],
        Engine="aurora-postgresql",
        KmsKeyId=key,
        DBClusterParameterGroupName="snapshots",
        DBSubnetGroupName="orders-prod",
        EnableCloudwatchLogsExports=["postgresql"],
    )
    assert aurora.cluster_settled("encrypted") == ["creating", "available"]
    assert aurora.cluster("encrypted")["DBClusterMembers"] == []
    add(rds, "encrypted", "encrypted-1", "encrypted-2")
    aurora.cluster_settled("encrypted")
    return "encrypted"


def add(rds: Any, cluster: str, *members: str) -> None:
    for member in members:
        rds.create_db_instance(
            DBInstanceIdentifier=member,
            DBClusterIdentifier=cluster,
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
        )


def one(lab: Lab, instance: str, query: str) -> Any:
    with lab.connect(instance=instance) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def number(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def holds_marker(top: Path) -> bool:
    return any(MARKER.encode() in p.read_bytes() for p in top.rglob("*") if p.is_file())


def test_a_snapshot_of_an_unencrypted_cluster_is_said_to_be_so(aurora: Lab, taken: Writer) -> None:
    snapshot = aurora.cluster_snapshot("plain")
    assert (snapshot["StorageEncrypted"], snapshot["StorageEncryptionType"]) == (False, "none")
    assert "KmsKeyId" not in snapshot
    assert snapshot["DbClusterResourceId"] == aurora.source["resource_id"]
    assert {t["Key"] for t in snapshot["TagList"]} == {"service", "environment"}


def test_a_copy_does_not_encrypt_a_snapshot(aurora: Lab, rds: Any, taken: Writer, key: str) -> None:
    with pytest.raises(ClientError, match="not encrypted"):
        rds.copy_db_cluster_snapshot(
            SourceDBClusterSnapshotIdentifier="plain", TargetDBClusterSnapshotIdentifier="never", KmsKeyId=key
        )
    with pytest.raises(ClientError) as error:
        aurora.cluster_snapshot("never")
    assert error.value.response["Error"]["Code"] == "DBClusterSnapshotNotFoundFault"


def test_a_restore_with_a_key_does(aurora: Lab, restored: str, key: str) -> None:
    cluster = aurora.cluster(restored)
    assert (cluster["StorageEncrypted"], cluster["StorageEncryptionType"]) == (True, "sse-kms")
    assert cluster["KmsKeyId"] == key
    for member in ("encrypted-1", "encrypted-2"):
        found = aurora.instance(member)
        assert (found["StorageEncrypted"], found["KmsKeyId"]) == (True, key)


def test_the_volumes_of_writer_and_reader_hold_no_plaintext(aurora: Lab, restored: str) -> None:
    if aurora.document["encrypted_storage"] != "gocryptfs":
        pytest.skip("no FUSE or no gocryptfs here: the lab says `flag only`")
    instances = (aurora.directory / "volumes").resolve() / "instances"
    for member in ("encrypted-1", "encrypted-2"):
        storage = (instances / aurora.instance(member)["DbiResourceId"]).resolve()
        assert holds_marker(storage / "volume")
        assert not holds_marker(storage / "cipher")
    source = (instances / aurora.instance("orders-prod-1")["DbiResourceId"]).resolve()
    assert holds_marker(source / "volume")


def test_the_copy_is_a_prefix_and_its_logical_start_is_where_that_ends(
    aurora: Lab, taken: Writer, restored: str
) -> None:
    last = one(aurora, restored, "SELECT max(n) FROM written")
    assert one(aurora, restored, "SELECT count(*) FROM written") == last
    assert 50 <= last < len(taken.after)
    start = one(aurora, restored, "SELECT aurora_volume_logical_start_lsn()::text")
    assert number(taken.after[last - 1]) < number(start) < number(taken.after[last + 1])
    assert start == one(aurora, "encrypted-2", "SELECT aurora_volume_logical_start_lsn()::text")
    (done,) = re.findall(r"redo done at ([0-9A-F/]+)", log_of(aurora, "encrypted-1"))
    assert number(done) < number(start)


def test_the_copy_keeps_the_slot_and_its_reader_has_none(aurora: Lab, restored: str) -> None:
    assert one(aurora, restored, "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots") == "s"
    assert one(aurora, "encrypted-2", "SELECT count(*) FROM pg_replication_slots") == 0


def test_the_readers_show_what_the_restored_writer_writes(aurora: Lab, restored: str) -> None:
    with aurora.connect(instance=restored) as connection:
        connection.execute("CREATE TABLE only_here ()")
    wait_until(lambda: one(aurora, "encrypted-2", "SELECT to_regclass('only_here')") is not None, "the reader", 30)


def log_of(aurora: Lab, instance: str) -> str:
    rds = aurora.client("rds")
    files = rds.describe_db_log_files(DBInstanceIdentifier=instance)["DescribeDBLogFiles"]
    return "".join(
        rds.download_db_log_file_portion(DBInstanceIdentifier=instance, LogFileName=f["LogFileName"], Marker="0")[
            "LogFileData"
        ]
        for f in files
    )


def test_logs_belong_to_instances_and_none_came_along(aurora: Lab, restored: str) -> None:
    # The slot was made on the source, which says so in its log.
    assert "consistent point" in log_of(aurora, "orders-prod-1")
    for member in ("encrypted-1", "encrypted-2"):
        assert "consistent point" not in log_of(aurora, member)


def test_the_log_is_exported_to_the_clusters_group_one_stream_an_instance(aurora: Lab, restored: str) -> None:
    logs = aurora.client("logs")

    def streams() -> set[str]:
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/rds/cluster/{restored}/postgresql")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return set()
        return {e["logStreamName"] for e in found if "starting PostgreSQL" in e["message"]}

    wait_until(lambda: streams() == {"encrypted-1.0", "encrypted-2.0"}, "both logs in CloudWatch", 30)


@pytest.mark.full
def test_rekeying_by_a_copy_and_by_a_restore_as_long_as_the_key_can_be_used(
    aurora: Lab, rds: Any, restored: str
) -> None:
    other = aurora.client("kms").create_key()["KeyMetadata"]["Arn"]
    rds.create_db_cluster_snapshot(DBClusterIdentifier=restored, DBClusterSnapshotIdentifier="sealed")
    aurora.cluster_snapshot_settled("sealed")
    assert aurora.cluster_snapshot("sealed")["KmsKeyId"] == aurora.cluster(restored)["KmsKeyId"]
    rds.copy_db_cluster_snapshot(
        SourceDBClusterSnapshotIdentifier="sealed", TargetDBClusterSnapshotIdentifier="rekeyed", KmsKeyId=other
    )
    assert aurora.cluster_snapshot_settled("rekeyed") == ["creating", "available"]
    assert aurora.cluster_snapshot("rekeyed")["KmsKeyId"] == other
    # The copy has the slot, so it starts only with logical replication on.
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="rekeyed",
        SnapshotIdentifier="sealed",
        Engine="aurora-postgresql",
        KmsKeyId=other,
        DBClusterParameterGroupName="snapshots",
    )
    aurora.cluster_settled("rekeyed")
    add(rds, "rekeyed", "rekeyed-1")
    aurora.cluster_settled("rekeyed")
    assert aurora.cluster("rekeyed")["KmsKeyId"] == other
    assert one(aurora, "rekeyed", "SELECT count(*) > 0 FROM written") is True
    delete(aurora, rds, "rekeyed", "rekeyed-1")

    aurora.client("kms").disable_key(KeyId=other.rpartition("/")[2])
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier="never", SnapshotIdentifier="plain", Engine="aurora-postgresql", KmsKeyId=other
        )
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="locked", SnapshotIdentifier="rekeyed", Engine="aurora-postgresql"
    )
    aurora.cluster_settled("locked", "inaccessible-encryption-credentials")
    delete(aurora, rds, "locked")
    for name in ("sealed", "rekeyed"):
        rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)


def delete(aurora: Lab, rds: Any, cluster: str, *members: str, **more: Any) -> None:
    """As the controller does: the last member is the writer, and the cluster is deleted while they go."""
    for member in members:
        rds.delete_db_instance(DBInstanceIdentifier=member)
    rds.delete_db_cluster(DBClusterIdentifier=cluster, **({"SkipFinalSnapshot": True} | more))
    aurora.cluster_gone(cluster)


@pytest.mark.full
def test_a_cluster_of_today_is_encrypted_under_a_key_that_aws_owns(aurora: Lab, rds: Any, key: str) -> None:
    rds.create_db_cluster(
        DBClusterIdentifier="today",
        Engine="aurora-postgresql",
        MasterUsername="master",
        MasterUserPassword=aurora.source["password"],
        DatabaseName="orders",
        BackupRetentionPeriod=1,
    )
    aurora.cluster_settled("today")
    add(rds, "today", "today-1")
    aurora.cluster_settled("today")
    cluster = aurora.cluster("today")
    assert (cluster["StorageEncrypted"], cluster["StorageEncryptionType"]) == (False, "sse-rds")
    assert "KmsKeyId" not in cluster
    if aurora.document["encrypted_storage"] == "gocryptfs":
        volumes = aurora.directory / "volumes" / "instances" / cluster["DbClusterResourceId"]
        assert (volumes / "cipher").is_dir()

    rds.create_db_cluster_snapshot(DBClusterIdentifier="today", DBClusterSnapshotIdentifier="of-today")
    aurora.cluster_snapshot_settled("of-today")
    assert aurora.cluster_snapshot("of-today")["StorageEncryptionType"] == "sse-rds"
    rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="ours", SnapshotIdentifier="of-today", Engine="aurora-postgresql", KmsKeyId=key
    )
    aurora.cluster_settled("ours")
    assert aurora.cluster("ours")["StorageEncryptionType"] == "sse-kms"
    assert aurora.cluster("ours")["KmsKeyId"] == key
    aurora.cluster_settled("today")
    delete(aurora, rds, "ours")
    delete(aurora, rds, "today", "today-1", SkipFinalSnapshot=False, FinalDBSnapshotIdentifier="last-of-today")
    assert aurora.cluster_snapshot_settled("last-of-today") == ["available"]
    assert aurora.cluster_snapshot("last-of-today")["SnapshotType"] == "manual"


@pytest.mark.full
def test_what_is_left_of_a_deleted_cluster_is_listed_only_where_it_was_kept(aurora: Lab, rds: Any) -> None:
    for name, kept in (("kept", True), ("dropped", False)):
        rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier=name, SnapshotIdentifier="last-of-today", Engine="aurora-postgresql"
        )
        aurora.cluster_settled(name)
        resource = aurora.cluster(name)["DbClusterResourceId"]
        delete(aurora, rds, name, DeleteAutomatedBackups=not kept)
        found = rds.describe_db_cluster_automated_backups(DbClusterResourceId=resource)["DBClusterAutomatedBackups"]
        assert [b["Status"] for b in found] == (["retained"] if kept else [])


@pytest.mark.parametrize(
    "key", ["alias/none", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-12345678"]
)
def test_a_key_that_is_not_here_is_refused(rds: Any, taken: Writer, key: str) -> None:
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier="never", SnapshotIdentifier="plain", Engine="aurora-postgresql", KmsKeyId=key
        )


def test_a_protected_cluster_and_an_automated_snapshot_are_not_deleted(aurora: Lab, rds: Any, restored: str) -> None:
    rds.modify_db_cluster(DBClusterIdentifier=restored, DeletionProtection=True, ApplyImmediately=True)
    aurora.cluster_settled(restored)
    with pytest.raises(ClientError, match="protected"):
        rds.delete_db_cluster(DBClusterIdentifier=restored, SkipFinalSnapshot=True)
    rds.modify_db_cluster(DBClusterIdentifier=restored, DeletionProtection=False, ApplyImmediately=True)
    aurora.cluster_settled(restored)
    automated = rds.describe_db_cluster_snapshots(DBClusterIdentifier="orders-prod", SnapshotType="automated")
    (name,) = [s["DBClusterSnapshotIdentifier"] for s in automated["DBClusterSnapshots"]]
    assert name.startswith("rds:orders-prod-")
    with pytest.raises(ClientError) as error:
        rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)
    assert error.value.response["Error"]["Code"] == "InvalidDBClusterSnapshotStateFault"


def test_a_deleted_cluster_leaves_no_storage(aurora: Lab, rds: Any, restored: str) -> None:
    instances = (aurora.directory / "volumes").resolve() / "instances"
    members = [aurora.instance(m)["DbiResourceId"] for m in ("encrypted-1", "encrypted-2")]
    resource = aurora.cluster(restored)["DbClusterResourceId"]
    delete(aurora, rds, restored, "encrypted-2", "encrypted-1")
    # A link may also be left that leads nowhere.
    assert [p for name in (resource, *members) if os.path.lexists(p := instances / name)] == []
