"""Every setting of a server that its owner may have chosen and that a restore may not have copied: its name in AWS, in
Terraform and pulumi-aws (the same), and the option of `aws rds modify-db-…` that sets it."""

from collections.abc import Callable
from dataclasses import dataclass

from encryptdb.stacks.cloud.database import Database

Value = str | int | float | bool | tuple[str, ...] | None
"""None: not set."""


@dataclass(frozen=True)
class Block:
    """A setting that has parts, by their names in Terraform. `shorthand` is how the AWS command line writes it."""

    parts: tuple[tuple[str, Value], ...]
    shorthand: str


@dataclass(frozen=True)
class Setting:
    """One setting of one server. `argument` is None if no code sets it, `option` if no command does."""

    title: str
    value: Value | Block
    argument: str | None
    option: str | None = None


Read = Callable[[Database], Value | Block]


@dataclass(frozen=True)
class Row:
    """One line of a table below. `read` is the field of `Database`, or AWS's key where only this table has a use for
    it (it begins with a capital), or how the value is had."""

    title: str
    read: str | Read
    argument: str | None
    option: str | None = None

    def of(self, found: Database) -> Setting:
        if not isinstance(self.read, str):
            value = self.read(found)
        elif self.read[0].isupper():
            value = found.answer.get(self.read)
        else:
            value = getattr(found, self.read)
        return Setting(self.title, value, self.argument, self.option)


def _flag(key: str) -> Read:
    return lambda found: bool(found.answer.get(key))


def _number(key: str) -> Read:
    """AWS says 0 of what a kind of storage does not have."""
    return lambda found: int(found.answer[key]) if found.answer.get(key) else None


def _window(found: Database) -> str | None:
    # The case of the days has no meaning.
    window = found.answer.get("PreferredMaintenanceWindow")
    return str(window).lower() if window else None


def _capacity(found: Database) -> Block | None:
    capacity = found.capacity
    if capacity is None:
        return None
    parts: dict[str, Value] = {"MinCapacity": capacity.least, "MaxCapacity": capacity.most}
    named = [("min_capacity", capacity.least), ("max_capacity", capacity.most)]
    if capacity.pause_after:
        parts["SecondsUntilAutoPause"] = capacity.pause_after
        named.append(("seconds_until_auto_pause", capacity.pause_after))
    return Block(tuple(named), ",".join(f"{key}={value}" for key, value in parts.items()))


def _insights(key: str) -> Read:
    return lambda found: found.answer.get(key) if found.answer.get("PerformanceInsightsEnabled") else None


def _monitoring_role(found: Database) -> str | None:
    return found.answer.get("MonitoringRoleArn") if found.answer.get("MonitoringInterval") else None


def _option_group(found: Database) -> str | None:
    memberships = found.answer.get("OptionGroupMemberships") or [{}]
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
        lambda found: True if found.master_secret else None,
        "manage_master_user_password",
        "--manage-master-user-password",
    ),
)
_IAM = Row(
    "IAM authentication",
    "iam_authentication",
    "iam_database_authentication_enabled",
    "--enable-iam-database-authentication",
)
_EXPORTS = Row(
    "logs exported to CloudWatch",
    "log_exports",
    "enabled_cloudwatch_logs_exports",
    "--cloudwatch-logs-export-configuration",
)
_TAGGING = Row("tags copied to snapshots", "copy_tags_to_snapshot", "copy_tags_to_snapshot", "--copy-tags-to-snapshot")
_MINOR = Row(
    "minor upgrades by AWS",
    "auto_minor_version_upgrade",
    "auto_minor_version_upgrade",
    "--auto-minor-version-upgrade",
)
_PUBLIC = Row("publicly accessible", "publicly_accessible", "publicly_accessible", "--publicly-accessible")
_CA = Row("certificate authority", "CACertificateIdentifier", "ca_cert_identifier", "--ca-certificate-identifier")
_CLASS = Row("class", "instance_class", "instance_class", "--db-instance-class")
_SECURITY = Row("security groups", "security_groups", "vpc_security_group_ids", "--vpc-security-group-ids")
_RETENTION = Row("backups, days kept", "BackupRetentionPeriod", "backup_retention_period", "--backup-retention-period")
_VERSION = Row("engine version", "engine_version", "engine_version", "--engine-version")
_NETWORK = Row("network type", "NetworkType", "network_type", "--network-type")
_STORAGE_TYPE = Row("storage type", "StorageType", "storage_type", "--storage-type")

INSTANCE: tuple[Row, ...] = (
    Row("identifier", "identifier", "identifier", "--new-db-instance-identifier"),
    _VERSION,
    _CLASS,
    Row("storage, GiB", "AllocatedStorage", "allocated_storage", "--allocated-storage"),
    Row("storage grows up to, GiB", _number("MaxAllocatedStorage"), "max_allocated_storage", "--max-allocated-storage"),
    _STORAGE_TYPE,
    Row("IOPS", _number("Iops"), "iops", "--iops"),
    Row("storage throughput, MiB/s", _number("StorageThroughput"), "storage_throughput", "--storage-throughput"),
    Row("dedicated log volume", "DedicatedLogVolume", "dedicated_log_volume", "--dedicated-log-volume"),
    Row("subnet group", "subnet_group", "db_subnet_group_name", "--db-subnet-group-name"),
    _SECURITY,
    Row("port", "port", "port", "--db-port-number"),
    Row("Multi-AZ", "multi_az", "multi_az", "--multi-az"),
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
)

CLUSTER: tuple[Row, ...] = (
    Row("identifier", "identifier", "cluster_identifier", "--new-db-cluster-identifier"),
    _VERSION,
    # `aurora` is what it is called where nobody chose one, and no argument takes it.
    Row(
        "storage type",
        lambda found: None if found.answer.get("StorageType") == "aurora" else found.answer.get("StorageType"),
        "storage_type",
        "--storage-type",
    ),
    Row("subnet group", "subnet_group", "db_subnet_group_name"),
    _SECURITY,
    Row("port", "port", "port", "--port"),
    _NETWORK,
    _RETENTION,
    Row("backup window", "PreferredBackupWindow", "preferred_backup_window", "--preferred-backup-window"),
    Row(
        "maintenance window",
        _window,
        "preferred_maintenance_window",
        "--preferred-maintenance-window",
    ),
    Row("capacity", _capacity, "serverlessv2_scaling_configuration", "--serverless-v2-scaling-configuration"),
    Row("Data API", "HttpEndpointEnabled", "enable_http_endpoint", "--enable-http-endpoint"),
    Row("Database Insights", "DatabaseInsightsMode", "database_insights_mode", "--database-insights-mode"),
    _EXPORTS,
    _IAM,
    *_PASSWORD,
    _TAGGING,
)

MEMBER: tuple[Row, ...] = (
    Row("identifier", "identifier", "identifier", "--new-db-instance-identifier"),
    _CLASS,
    Row("promotion tier", "promotion_tier", "promotion_tier", "--promotion-tier"),
    Row(
        "parameter group of the instance",
        "parameter_group",
        "db_parameter_group_name",
        "--db-parameter-group-name",
    ),
    _PUBLIC,
    _CA,
    Row(
        "maintenance window",
        _window,
        "preferred_maintenance_window",
        "--preferred-maintenance-window",
    ),
    *_MONITORING,
    *_INSIGHTS,
    _TAGGING,
    _MINOR,
)
