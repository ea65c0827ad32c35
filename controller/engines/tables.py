"""Every setting of a server that its owner may have chosen: what AWS calls it, what Terraform and pulumi-aws call it
(they use one name), and the option of `aws rds modify-db-…` that sets it. Tables; nothing is asked here.

Left out on purpose is what decides nothing about a server that is there and could only replace it: username, db_name,
availability_zone, snapshot_identifier.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.engines.settings import Block, Setting, Value

Read = Callable[[Mapping[str, Any]], Value | Block]


@dataclass(frozen=True)
class Row:
    """One line of a table below; `read` is AWS's key, or how the value is had from the answer."""

    title: str
    read: str | Read
    argument: str | None
    option: str | None = None
    compared: bool = True

    def of(self, answer: Mapping[str, Any]) -> Setting:
        value = answer.get(self.read) if isinstance(self.read, str) else self.read(answer)
        return Setting(self.title, value, self.argument, self.option, self.compared)


def _flag(key: str) -> Read:
    return lambda answer: bool(answer.get(key))


def _number(key: str) -> Read:
    """AWS says 0 of what a kind of storage does not have."""
    return lambda answer: int(answer[key]) if answer.get(key) else None


def _names(key: str) -> Read:
    return lambda answer: tuple(sorted(answer.get(key) or ()))


def _groups(answer: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(g["VpcSecurityGroupId"] for g in answer.get("VpcSecurityGroups") or ()))


def _managed(answer: Mapping[str, Any]) -> bool | None:
    return True if answer.get("MasterUserSecret") else None


def _window(answer: Mapping[str, Any]) -> str | None:
    # Both providers keep it in lower case.
    window = answer.get("PreferredMaintenanceWindow")
    return str(window).lower() if window else None


def _capacity(answer: Mapping[str, Any]) -> Block | None:
    found = answer.get("ServerlessV2ScalingConfiguration") or {}
    if not found.get("MaxCapacity"):
        return None
    names = {"min_capacity": "MinCapacity", "max_capacity": "MaxCapacity"}
    if found.get("SecondsUntilAutoPause"):
        names["seconds_until_auto_pause"] = "SecondsUntilAutoPause"
    parts = tuple((ours, found.get(theirs) or 0) for ours, theirs in names.items())
    return Block(parts, ",".join(f"{theirs}={found.get(theirs) or 0}" for theirs in names.values()))


def _insights(key: str) -> Read:
    return lambda answer: answer.get(key) if answer.get("PerformanceInsightsEnabled") else None


def _monitoring_role(answer: Mapping[str, Any]) -> str | None:
    return answer.get("MonitoringRoleArn") if answer.get("MonitoringInterval") else None


def _option_group(answer: Mapping[str, Any]) -> str | None:
    memberships = answer.get("OptionGroupMemberships") or [{}]
    name: str | None = memberships[0].get("OptionGroupName")
    return name


_INSIGHTS = (
    Row(
        "Performance Insights",
        _flag("PerformanceInsightsEnabled"),
        "performance_insights_enabled",
        "--enable-performance-insights",
    ),
    Row(
        "Performance Insights, key (fixed once they are on)",
        _insights("PerformanceInsightsKMSKeyId"),
        "performance_insights_kms_key_id",
        "--performance-insights-kms-key-id",
    ),
    Row(
        "Performance Insights, days kept",
        _insights("PerformanceInsightsRetentionPeriod"),
        "performance_insights_retention_period",
        "--performance-insights-retention-period",
    ),
)
_MONITORING = (
    Row("enhanced monitoring, seconds", "MonitoringInterval", "monitoring_interval", "--monitoring-interval"),
    Row("enhanced monitoring, role", _monitoring_role, "monitoring_role_arn", "--monitoring-role-arn"),
)
_PASSWORD = (
    Row(
        "password managed in Secrets Manager",
        _managed,
        "manage_master_user_password",
        "--manage-master-user-password",
    ),
)
_IAM = Row(
    "IAM authentication",
    _flag("IAMDatabaseAuthenticationEnabled"),
    "iam_database_authentication_enabled",
    "--enable-iam-database-authentication",
)
_EXPORTS = Row(
    "logs exported to CloudWatch",
    _names("EnabledCloudwatchLogsExports"),
    "enabled_cloudwatch_logs_exports",
    "--cloudwatch-logs-export-configuration",
)
_TAGGING = Row(
    "tags copied to snapshots", _flag("CopyTagsToSnapshot"), "copy_tags_to_snapshot", "--copy-tags-to-snapshot"
)
_MINOR = Row(
    "minor upgrades by AWS",
    _flag("AutoMinorVersionUpgrade"),
    "auto_minor_version_upgrade",
    "--auto-minor-version-upgrade",
)
_PUBLIC = Row("publicly accessible", _flag("PubliclyAccessible"), "publicly_accessible", "--publicly-accessible")
_PROTECTION = Row("deletion protection", _flag("DeletionProtection"), "deletion_protection", compared=False)
_CA = Row("certificate authority", "CACertificateIdentifier", "ca_cert_identifier", "--ca-certificate-identifier")
_CLASS = Row("class", "DBInstanceClass", "instance_class", "--db-instance-class")
_SECURITY = Row("security groups", _groups, "vpc_security_group_ids", "--vpc-security-group-ids")
_RETENTION = Row("backups, days kept", "BackupRetentionPeriod", "backup_retention_period", "--backup-retention-period")
_VERSION = Row("engine version", "EngineVersion", "engine_version", "--engine-version")
_NETWORK = Row("network type", "NetworkType", "network_type", "--network-type")
_STORAGE_TYPE = Row("storage type", "StorageType", "storage_type", "--storage-type")
_ENGINE = Row("engine", "Engine", "engine", compared=False)
_ENCRYPTED = (
    Row("encrypted", _flag("StorageEncrypted"), "storage_encrypted", compared=False),
    Row("key", "KmsKeyId", "kms_key_id", compared=False),
)

INSTANCE: tuple[Row, ...] = (
    Row("identifier", "DBInstanceIdentifier", "identifier", "--new-db-instance-identifier"),
    _ENGINE,
    _VERSION,
    _CLASS,
    *_ENCRYPTED,
    Row("storage, GiB", "AllocatedStorage", "allocated_storage", "--allocated-storage"),
    Row("storage grows up to, GiB", _number("MaxAllocatedStorage"), "max_allocated_storage", "--max-allocated-storage"),
    _STORAGE_TYPE,
    Row("IOPS", _number("Iops"), "iops", "--iops"),
    Row("storage throughput, MiB/s", _number("StorageThroughput"), "storage_throughput", "--storage-throughput"),
    Row("dedicated log volume", "DedicatedLogVolume", "dedicated_log_volume", "--dedicated-log-volume"),
    Row(
        "subnet group",
        lambda answer: (answer.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        "db_subnet_group_name",
        "--db-subnet-group-name",
    ),
    _SECURITY,
    Row("port", lambda answer: (answer.get("Endpoint") or {}).get("Port"), "port", "--db-port-number"),
    Row("Multi-AZ", _flag("MultiAZ"), "multi_az", "--multi-az"),
    _PUBLIC,
    _NETWORK,
    Row("option group", _option_group, "option_group_name", "--option-group-name"),
    _CA,
    _RETENTION,
    Row("backup window", "PreferredBackupWindow", "backup_window", "--preferred-backup-window"),
    Row("maintenance window", _window, "maintenance_window", "--preferred-maintenance-window"),
    *_MONITORING,
    *_INSIGHTS,
    Row("Database Insights", "DatabaseInsightsMode", "database_insights_mode", "--database-insights-mode"),
    _EXPORTS,
    _IAM,
    *_PASSWORD,
    _TAGGING,
    _MINOR,
    _PROTECTION,
)

CLUSTER: tuple[Row, ...] = (
    Row("identifier", "DBClusterIdentifier", "cluster_identifier", "--new-db-cluster-identifier"),
    _ENGINE,
    _VERSION,
    *_ENCRYPTED,
    # `aurora` is what it is called where nobody chose one, and no argument takes it.
    Row(
        "storage type",
        lambda answer: None if answer.get("StorageType") == "aurora" else answer.get("StorageType"),
        "storage_type",
        "--storage-type",
    ),
    Row("subnet group", "DBSubnetGroup", "db_subnet_group_name"),
    _SECURITY,
    Row("port", "Port", "port", "--port"),
    _NETWORK,
    _RETENTION,
    Row("backup window", "PreferredBackupWindow", "preferred_backup_window", "--preferred-backup-window"),
    Row("maintenance window", _window, "preferred_maintenance_window", "--preferred-maintenance-window"),
    Row("capacity", _capacity, "serverlessv2_scaling_configuration", "--serverless-v2-scaling-configuration"),
    Row("Data API", "HttpEndpointEnabled", "enable_http_endpoint", "--enable-http-endpoint"),
    Row("Database Insights", "DatabaseInsightsMode", "database_insights_mode", "--database-insights-mode"),
    _EXPORTS,
    _IAM,
    *_PASSWORD,
    _TAGGING,
    _PROTECTION,
)

MEMBER: tuple[Row, ...] = (
    Row("identifier", "DBInstanceIdentifier", "identifier", "--new-db-instance-identifier"),
    _ENGINE,
    _CLASS,
    Row("promotion tier", "PromotionTier", "promotion_tier", "--promotion-tier"),
    Row(
        "parameter group of the instance",
        lambda answer: (answer.get("DBParameterGroups") or [{}])[0].get("DBParameterGroupName"),
        "db_parameter_group_name",
        "--db-parameter-group-name",
    ),
    _PUBLIC,
    _CA,
    Row("maintenance window", _window, "preferred_maintenance_window", "--preferred-maintenance-window"),
    *_MONITORING,
    *_INSIGHTS,
    _TAGGING,
    _MINOR,
)


def settings(rows: tuple[Row, ...], answer: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The table's settings as AWS tells them."""
    return tuple(row.of(answer) for row in rows)


def tags(answer: Mapping[str, Any]) -> dict[str, str]:
    """Its tags, but for AWS's own, which nobody can set."""
    found = {t["Key"]: t.get("Value", "") for t in answer.get("TagList") or ()}
    return {k: v for k, v in sorted(found.items()) if not k.startswith("aws:")}
