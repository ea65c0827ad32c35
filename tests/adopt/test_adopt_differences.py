"""A copy that differs is told of with both values and what sets it; one that is alike is not."""

import shlex
from typing import Any

import pytest

from encryptdb.controller.adopt.differences import Difference, differences, still_raised
from encryptdb.controller.engines.tables import CLUSTER, INSTANCE, MEMBER, Row
from tests.adopt.answers import (
    cluster,
    cluster_answer,
    found,
    found_cluster,
    group,
    instance,
    instance_answer,
    member_answer,
)

CHANGES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "engine version": ({"EngineVersion": "15.6"}, "15.4", "15.6", "--engine-version 15.4"),
    "class": ({"DBInstanceClass": "db.t4g.small"}, "db.m6g.large", "db.t4g.small", "--db-instance-class db.m6g.large"),
    "storage, GiB": ({"AllocatedStorage": 450}, "500", "450", "--allocated-storage 500"),
    "storage grows up to, GiB": ({"MaxAllocatedStorage": 900}, "none", "900", ""),
    "storage type": ({"StorageType": "gp2"}, "gp3", "gp2", "--storage-type gp3"),
    "IOPS": ({"Iops": 0}, "12000", "none", "--iops 12000"),
    "storage throughput, MiB/s": ({"StorageThroughput": 0}, "500", "none", "--storage-throughput 500"),
    "dedicated log volume": ({"DedicatedLogVolume": True}, "none", "yes", "--no-dedicated-log-volume"),
    "subnet group": (
        {"DBSubnetGroup": {"DBSubnetGroupName": "public"}}, "private", "public", "--db-subnet-group-name private",
    ),
    "security groups": (
        {"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-2"}]}, "sg-1", "sg-2", "--vpc-security-group-ids sg-1",
    ),
    "port": ({"Endpoint": {"Address": "copy.x", "Port": 5433}}, "5432", "5433", "--db-port-number 5432"),
    "Multi-AZ": ({"MultiAZ": True}, "no", "yes", "--no-multi-az"),
    "publicly accessible": ({"PubliclyAccessible": True}, "no", "yes", "--no-publicly-accessible"),
    "network type": ({"NetworkType": "DUAL"}, "IPV4", "DUAL", "--network-type IPV4"),
    "option group": (
        {"OptionGroupMemberships": [{"OptionGroupName": "mine"}]},
        "default:postgres-15", "mine", "--option-group-name default:postgres-15",
    ),
    "certificate authority": (
        {"CACertificateIdentifier": "rds-ca-2019"},
        "rds-ca-rsa2048-g1", "rds-ca-2019", "--ca-certificate-identifier rds-ca-rsa2048-g1",
    ),
    "backups, days kept": ({"BackupRetentionPeriod": 1}, "7", "1", "--backup-retention-period 7"),
    "backup window": (
        {"PreferredBackupWindow": "05:00-05:30"}, "02:00-02:30", "05:00-05:30", "--preferred-backup-window 02:00-02:30",
    ),
    "maintenance window": (
        {"PreferredMaintenanceWindow": "mon:01:00-mon:01:30"},
        "sun:04:00-sun:04:30", "mon:01:00-mon:01:30", "--preferred-maintenance-window sun:04:00-sun:04:30",
    ),
    "enhanced monitoring, seconds": ({"MonitoringInterval": 60}, "0", "60", "--monitoring-interval 0"),
    "enhanced monitoring, role": ({"MonitoringInterval": 60, "MonitoringRoleArn": "arn:r"}, "none", "arn:r", ""),
    "Performance Insights": (
        {"PerformanceInsightsEnabled": True}, "no", "yes", "--no-enable-performance-insights",
    ),
    "Performance Insights, key (fixed once they are on)": (
        {"PerformanceInsightsEnabled": True, "PerformanceInsightsKMSKeyId": "arn:k"}, "none", "arn:k", "",
    ),
    "Performance Insights, days kept": (
        {"PerformanceInsightsEnabled": True, "PerformanceInsightsRetentionPeriod": 31}, "none", "31", "",
    ),
    "Database Insights": ({"DatabaseInsightsMode": "advanced"}, "none", "advanced", ""),
    "logs exported to CloudWatch": (
        {"EnabledCloudwatchLogsExports": ["upgrade"]},
        "postgresql", "upgrade",
        "--cloudwatch-logs-export-configuration "
        """'{"EnableLogTypes": ["postgresql"], "DisableLogTypes": ["upgrade"]}'""",
    ),
    "IAM authentication": (
        {"IAMDatabaseAuthenticationEnabled": True}, "no", "yes", "--no-enable-iam-database-authentication",
    ),
    "password managed in Secrets Manager": (
        {"MasterUserSecret": {"SecretArn": "arn:s"}}, "none", "yes", "--no-manage-master-user-password",
    ),
    "tags copied to snapshots": ({"CopyTagsToSnapshot": False}, "yes", "no", "--copy-tags-to-snapshot"),
    "minor upgrades by AWS": ({"AutoMinorVersionUpgrade": False}, "yes", "no", "--auto-minor-version-upgrade"),
}  # fmt: skip
"""Of every compared setting of an instance: a target's other value, both in words, and the options that undo it."""


def listed(**target: Any) -> dict[str, Difference]:
    """What is told of a target with these answers, but for its name."""
    one = found(target=(instance(instance_answer("copy", **target)),))
    return {d.title: d for d in differences(one) if d.title != "identifier"}


def test_a_copy_that_is_alike_differs_in_nothing_but_its_name() -> None:
    (only,) = differences(found())
    assert (only.title, only.source, only.target) == ("identifier", "orders", "copy")
    assert only.note
    assert listed() == {}


@pytest.mark.parametrize("title", CHANGES)
def test_each_setting_is_told_with_both_values_and_the_command(title: str) -> None:
    changed, source, target, options = CHANGES[title]
    told = listed(**changed)[title]
    assert (told.source, told.target) == (source, target)
    base = "aws rds modify-db-instance --db-instance-identifier copy "
    assert told.command == (f"{base}{options} --apply-immediately" if options else None)
    assert told.argument


def test_every_setting_that_is_compared_is_among_them() -> None:
    compared = {row.title for row in INSTANCE} - {"identifier"}
    assert compared == set(CHANGES)


@pytest.mark.parametrize("title", CHANGES)
def test_what_only_the_source_has_is_told_as_well(title: str) -> None:
    changed, target, source, _ = CHANGES[title]
    one = found(source=(instance(instance_answer(**changed)),))
    told = next(d for d in differences(one) if d.title == title)
    assert (told.source, told.target) == (source, target)


def test_a_managed_password_of_the_source_is_not_on_the_copy() -> None:
    one = found(source=(instance(instance_answer(MasterUserSecret={"SecretArn": "arn:s"})),))
    told = next(d for d in differences(one) if d.title.startswith("password"))
    assert (told.source, told.target) == ("yes", "none")
    assert told.command
    assert "--manage-master-user-password" in told.command
    assert "arn:s" not in str(told)


def test_encryption_and_protection_are_not_listed_they_are_what_it_was_for() -> None:
    titles = {d.title for d in differences(found())}
    assert titles.isdisjoint({"encrypted", "key", "deletion protection", "engine"})


def test_tags_that_are_missing_other_or_more() -> None:
    source = instance_answer(TagList=[{"Key": "team", "Value": "o'rders"}, {"Key": "cost", "Value": "1"}])
    target = instance_answer(
        "copy",
        TagList=[{"Key": "cost", "Value": "1"}, {"Key": "own", "Value": ""}, {"Key": "encryptdb:stack", "Value": "x"}],
    )
    told = {d.title: d for d in differences(found(source=(instance(source),), target=(instance(target),)))}
    assert set(told) == {"identifier", "tag team", "tag own"}
    assert (told["tag team"].source, told["tag team"].target) == ("o'rders", "none")
    assert shlex.split(str(told["tag team"].command))[-1] == '[{"Key": "team", "Value": "o\'rders"}]'
    assert str(told["tag own"].command).endswith("--tag-keys own")


def test_a_copy_has_no_read_replicas() -> None:
    one = found(source=(instance(instance_answer(ReadReplicaDBInstanceIdentifiers=["orders-ro"])),))
    told = next(d for d in differences(one) if d.title == "read replicas")
    assert (told.source, told.target) == ("orders-ro", "none")
    assert str(told.command).endswith("--source-db-instance-identifier copy")


def test_values_that_differ_between_the_groups_but_not_what_replication_needed() -> None:
    one = found(
        source_group=group("a", ("work_mem", "8192"), ("log_statement", "ddl")),
        target_group=group("b", ("log_statement", "none"), ("jit", "0"), ("rds.logical_replication", "1")),
        groups=(group("b", ("rds.logical_replication", "1")),),
    )
    told = {d.title: (d.source, d.target, d.command) for d in differences(one) if d.title != "identifier"}
    assert set(told) == {"parameter work_mem", "parameter log_statement", "parameter jit"}
    assert told["parameter log_statement"][:2] == ("ddl", "none")
    assert "reset-db-parameter-group" in str(told["parameter jit"][2])
    assert '"ParameterValue": "8192"' in str(told["parameter work_mem"][2])
    assert still_raised(one) == ("rds.logical_replication",)


@pytest.mark.parametrize(("storage", "argument"), [(399, None), (400, "iops")])
def test_the_iops_of_a_small_gp3_volume_are_nobody_s_choice(storage: int, argument: str | None) -> None:
    target = instance(instance_answer("copy", AllocatedStorage=storage, Iops=3000))
    source = instance(instance_answer(AllocatedStorage=storage))
    told = next(d for d in differences(found(source=(source,), target=(target,))) if d.title == "IOPS")
    assert told.argument == argument
    assert (told.command is not None) is (argument is not None)


def test_the_storage_type_that_nobody_chose_for_a_cluster_is_none() -> None:
    target = cluster(
        cluster_answer("copy", StorageType="aurora-iopt1"), [member_answer("copy-1"), member_answer("copy-2")]
    )
    told = next(d for d in differences(found_cluster(target=target)) if d.title == "storage type")
    assert (told.source, told.target) == ("none", "aurora-iopt1")


def test_nothing_is_compared_with_a_source_that_is_gone() -> None:
    assert differences(found(source=())) == ()


def test_a_cluster_and_its_instances_are_compared_each_with_its_like() -> None:
    target = cluster(
        cluster_answer("copy", BackupRetentionPeriod=1, ServerlessV2ScalingConfiguration={}),
        [member_answer("copy-1"), member_answer("copy-2", PromotionTier=5)],
    )
    told = {(d.server, d.title): d for d in differences(found_cluster(target=target)) if d.title != "identifier"}
    assert set(told) == {("copy", "backups, days kept"), ("copy", "capacity"), ("copy-2", "promotion tier")}
    assert told["copy", "capacity"].command == (
        "aws rds modify-db-cluster --db-cluster-identifier copy "
        "--serverless-v2-scaling-configuration MinCapacity=0.5,MaxCapacity=8.0 --apply-immediately"
    )
    assert "modify-db-instance --db-instance-identifier copy-2" in str(told["copy-2", "promotion tier"].command)


def test_a_cluster_that_has_lost_a_reader() -> None:
    target = cluster(cluster_answer("copy", members=1), [member_answer("copy-1")])
    told = next(d for d in differences(found_cluster(target=target)) if d.title == "instances of the cluster")
    assert (told.source, told.target) == ("2", "1")


@pytest.mark.parametrize("row", [*INSTANCE, *CLUSTER, *MEMBER], ids=lambda row: row.title)
def test_no_setting_can_be_told_that_nothing_sets(row: Row) -> None:
    assert row.option or row.title == "subnet group"
