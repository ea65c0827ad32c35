"""Snapshots: taken from a server under load, copied under a key, restored, with everything that a volume keeps."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.kit.lab import Lab

MARKER = "marker-3f1c-kept-in-a-table"


@dataclass
class Writer:
    """Commits 1, 2, 3 … one by one until stopped; remembers the last one that the server acknowledged."""

    lab: Lab
    acknowledged: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with self.lab.connect() as connection:
            while not self.stopped.is_set():
                connection.execute("INSERT INTO written SELECT max(n) + 1, %s FROM written", [MARKER])
                self.acknowledged += 1

    def reach(self, more: int) -> None:
        wanted, deadline = self.acknowledged + more, time.monotonic() + 30
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"waited 30 s for {more} commits"
            time.sleep(0.01)


@dataclass(frozen=True)
class Taken:
    """What the tests look at: the source went on writing all the time."""

    before: int
    """Commits acknowledged before CreateDBSnapshot was called."""
    after: int
    """Commits acknowledged when the snapshot was available."""
    states: list[str]


def start_with_group(group: str, lab: Lab, rds: Any) -> None:
    """Let the source run with that parameter group."""
    rds.modify_db_instance(DBInstanceIdentifier="orders-prod", DBParameterGroupName=group, ApplyImmediately=True)
    lab.settled("orders-prod")
    rds.reboot_db_instance(DBInstanceIdentifier="orders-prod")
    lab.settled("orders-prod")


@pytest.fixture(scope="module")
def taken(lab: Lab, rds: Any) -> Iterator[Taken]:
    """The source, logical, with a slot and a prepared transaction, snapshot `plain` taken while it is written to."""
    family = f"postgres{lab.document['postgres_version'].split('.')[0]}"
    rds.create_db_parameter_group(DBParameterGroupName="snapshots", DBParameterGroupFamily=family, Description="-")
    values = {"rds.logical_replication": "1", "track_commit_timestamp": "1", "max_prepared_transactions": "5"}
    rds.modify_db_parameter_group(
        DBParameterGroupName="snapshots",
        Parameters=[
            {"ParameterName": n, "ParameterValue": v, "ApplyMethod": "pending-reboot"} for n, v in values.items()
        ],
    )
    start_with_group("snapshots", lab, rds)
    with lab.connect() as connection:
        connection.execute("CREATE TABLE written (n int PRIMARY KEY, what text)")
        connection.execute("INSERT INTO written VALUES (0, '')")
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
        connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        connection.execute("BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'left open'")
    writer = Writer(lab)
    thread = threading.Thread(target=writer.run)
    thread.start()
    writer.reach(50)
    before = writer.acknowledged
    rds.create_db_snapshot(DBInstanceIdentifier="orders-prod", DBSnapshotIdentifier="plain")
    during = lab.instance("orders-prod")["DBInstanceStatus"]
    states = [during, *lab.snapshot_settled("plain")]
    after = writer.acknowledged
    lab.settled("orders-prod")
    writer.reach(20)
    writer.stopped.set()
    thread.join()
    yield Taken(before, after, states)
    # Other modules use the same source, in whatever order: it goes back to its own group, which allows no such thing.
    with lab.connect() as connection:
        connection.execute("ROLLBACK PREPARED 'left open'")
        connection.execute("SELECT pg_drop_replication_slot('s')")
    start_with_group("orders-prod", lab, rds)


@pytest.fixture(scope="module")
def restored(lab: Lab, rds: Any, taken: Taken) -> str:
    """The copy of `plain` under alias/aws/rds, restored as `encrypted-1`."""
    key = lab.client("kms").describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier="plain", TargetDBSnapshotIdentifier="sealed", KmsKeyId=key)
    assert lab.snapshot_settled("sealed") == ["creating", "available"]
    rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier="encrypted-1",
        DBSnapshotIdentifier="sealed",
        DBParameterGroupName="snapshots",
        DBSubnetGroupName="orders-prod",
        EnableCloudwatchLogsExports=["postgresql"],
    )
    assert "Endpoint" not in lab.instance("encrypted-1")
    assert lab.settled("encrypted-1") == ["creating", "backing-up", "available"]
    return "encrypted-1"


def one(connection: "psycopg.Connection[Any]", query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def holds_marker(folder: Path) -> bool:
    for path in folder.rglob("*"):
        try:
            if path.is_file() and MARKER.encode() in path.read_bytes():
                return True
        except FileNotFoundError:  # a running server's files come and go
            continue
    return False


def logs_of(rds: Any, instance: str) -> str:
    text = ""
    for file in rds.describe_db_log_files(DBInstanceIdentifier=instance)["DescribeDBLogFiles"]:
        marker, more = "0", True
        while more:
            answer = rds.download_db_log_file_portion(
                DBInstanceIdentifier=instance, LogFileName=file["LogFileName"], Marker=marker, NumberOfLines=7
            )
            text += answer["LogFileData"]
            marker, more = answer["Marker"], answer["AdditionalDataPending"]
    return text


def test_the_states_in_between_can_be_seen(taken: Taken) -> None:
    assert taken.states == ["backing-up", "creating", "available"]


def test_the_copy_holds_a_prefix_of_the_commits_up_to_one_instant(lab: Lab, taken: Taken, restored: str) -> None:
    with lab.connect(instance=restored) as connection:
        numbers = [row[0] for row in connection.execute("SELECT n FROM written ORDER BY n").fetchall()]
    assert numbers == list(range(len(numbers)))
    # One commit may have been written and not yet acknowledged at either moment.
    assert taken.before <= numbers[-1] <= taken.after + 1


def test_the_copy_keeps_slots_publications_and_prepared_transactions(lab: Lab, restored: str) -> None:
    with lab.connect(instance=restored) as connection:
        assert one(connection, "SELECT slot_name FROM pg_replication_slots") == "s"
        assert one(connection, "SELECT pubname FROM pg_publication") == "p"
        assert one(connection, "SELECT gid FROM pg_prepared_xacts") == "left open"


def test_the_copys_own_agents_have_used_transaction_ids(lab: Lab, restored: str) -> None:
    with lab.connect(instance=restored) as connection:
        mine = one(connection, "SELECT pg_current_xact_id()::text::bigint")
        recovered = one(connection, "SELECT split_part(next_xid, ':', 2)::bigint FROM pg_control_checkpoint()")
    assert mine - recovered >= 5


def test_the_target_is_encrypted_under_the_key_with_an_identity_of_its_own(lab: Lab, restored: str) -> None:
    source, target = lab.instance("orders-prod"), lab.instance(restored)
    key = lab.client("kms").describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
    assert (target["StorageEncrypted"], target["KmsKeyId"]) == (True, key)
    assert target["DbiResourceId"] != source["DbiResourceId"]
    assert target["Endpoint"]["Address"] != source["Endpoint"]["Address"]
    assert target["InstanceCreateTime"] > source["InstanceCreateTime"]
    assert "MasterUserSecret" not in target


def test_what_was_written_is_readable_on_the_sources_disk_and_not_on_the_targets(lab: Lab, restored: str) -> None:
    if lab.document["encrypted_storage"] != "gocryptfs":
        pytest.skip("no FUSE or no gocryptfs here: the lab says `flag only`")
    volumes = lab.directory / "volumes"
    source, target = (lab.instance(i)["DbiResourceId"] for i in ("orders-prod", restored))
    assert holds_marker(volumes / "instances" / source)
    assert holds_marker(volumes / "instances" / target / "volume")
    assert not holds_marker(volumes / "instances" / target / "cipher")


def test_the_plain_snapshot_is_readable_and_the_encrypted_one_is_not(lab: Lab, restored: str) -> None:
    sealed = [p for p in (lab.directory / "volumes" / "snapshots").iterdir() if (p / "data.sealed").exists()]
    plain = [p for p in (lab.directory / "volumes" / "snapshots").iterdir() if (p / "data").exists()]
    assert sealed
    assert not any(holds_marker(p) for p in sealed)
    assert any(holds_marker(p) for p in plain)


def test_the_end_of_recovery_is_in_the_server_log(rds: Any, restored: str) -> None:
    text = logs_of(rds, restored)
    assert re.search(r" UTC::@:\[\d+\]:LOG:  redo done at [0-9A-F]+/[0-9A-F]+", text)
    assert re.search(r"LOG:  invalid record length at [0-9A-F]+/[0-9A-F]+: ", text)


def test_the_exported_log_has_the_recovery_and_nothing_of_the_source(lab: Lab, restored: str) -> None:
    logs = lab.client("logs")
    deadline = time.monotonic() + 20
    messages: list[str] = []
    while not any("redo done at" in m for m in messages):
        assert time.monotonic() < deadline, "waited 20 s for the log's export"
        time.sleep(0.1)
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/rds/instance/{restored}/postgresql")
            messages = [e["message"] for e in found["events"]]
        except logs.exceptions.ResourceNotFoundException:
            continue
    assert not any("consistent point" in m for m in messages), "the slot was made on the source"
    assert any("consistent point" in m for m in source_messages(logs))


def source_messages(logs: Any) -> list[str]:
    events = logs.filter_log_events(logGroupName="/aws/rds/instance/orders-prod/postgresql")["events"]
    return [e["message"] for e in events]


def test_rekeying_an_encrypted_snapshot(lab: Lab, rds: Any, restored: str) -> None:
    other = lab.client("kms").create_key()["KeyMetadata"]["Arn"]
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier="sealed", TargetDBSnapshotIdentifier="rekeyed", KmsKeyId=other)
    lab.snapshot_settled("rekeyed")
    assert lab.snapshot("rekeyed")["KmsKeyId"] == other
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier="sealed", TargetDBSnapshotIdentifier="same")
    lab.snapshot_settled("same")
    assert lab.snapshot("same")["KmsKeyId"] == lab.snapshot("sealed")["KmsKeyId"]
    for name in ("rekeyed", "same"):
        rds.delete_db_snapshot(DBSnapshotIdentifier=name)


def test_a_key_that_is_disabled_afterwards_shows_in_the_instances_state(lab: Lab, rds: Any, taken: Taken) -> None:
    kms = lab.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier="plain", TargetDBSnapshotIdentifier="locked", KmsKeyId=key)
    lab.snapshot_settled("locked")
    kms.disable_key(KeyId=key.rpartition("/")[2])
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        rds.copy_db_snapshot(SourceDBSnapshotIdentifier="plain", TargetDBSnapshotIdentifier="never", KmsKeyId=key)
    rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="locked-1", DBSnapshotIdentifier="locked")
    lab.settled("locked-1", "inaccessible-encryption-credentials")
    rds.delete_db_instance(DBInstanceIdentifier="locked-1", SkipFinalSnapshot=True)
    lab.gone("locked-1")
    rds.delete_db_snapshot(DBSnapshotIdentifier="locked")


@pytest.mark.parametrize(
    "key", ["alias/none", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
)
def test_a_key_that_is_not_here_is_refused(rds: Any, taken: Taken, key: str) -> None:
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        rds.copy_db_snapshot(SourceDBSnapshotIdentifier="plain", TargetDBSnapshotIdentifier="never", KmsKeyId=key)


def test_a_snapshot_that_is_not_ready_is_neither_copied_nor_restored(lab: Lab, rds: Any, taken: Taken) -> None:
    rds.create_db_snapshot(DBInstanceIdentifier="orders-prod", DBSnapshotIdentifier="slow")
    for attempt in (
        lambda: rds.copy_db_snapshot(SourceDBSnapshotIdentifier="slow", TargetDBSnapshotIdentifier="never"),
        lambda: rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="never", DBSnapshotIdentifier="slow"),
        lambda: rds.create_db_snapshot(DBInstanceIdentifier="orders-prod", DBSnapshotIdentifier="slow"),
    ):
        with pytest.raises(ClientError, match=r"InvalidDBSnapshotState|InvalidDBInstanceState"):
            attempt()
    lab.snapshot_settled("slow")
    lab.settled("orders-prod")
    rds.delete_db_snapshot(DBSnapshotIdentifier="slow")


def test_free_storage_can_be_read_from_cloudwatch(lab: Lab, taken: Taken) -> None:
    import datetime

    now = datetime.datetime.now(datetime.UTC)
    deadline = time.monotonic() + 30
    points: list[Any] = []
    while not points:
        assert time.monotonic() < deadline, "waited 30 s for the metric"
        time.sleep(0.2)
        points = lab.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/RDS",
            MetricName="FreeStorageSpace",
            Dimensions=[{"Name": "DBInstanceIdentifier", "Value": "orders-prod"}],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=2),
            Period=60,
            Statistics=["Minimum"],
        )["Datapoints"]
    assert 90 * 1024**3 < points[0]["Minimum"] < 100 * 1024**3
