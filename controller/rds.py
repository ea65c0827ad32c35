"""RDS instances as the controller sees them, and the few things it does to them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.aws import Aws, NotFound
from controller.errors import Failed
from controller.waiting import Clock, Reporter, wait_until

AVAILABLE_SECONDS = 3600.0
"""How long a reboot or modification may take before we stop waiting (it goes on without us)."""


@dataclass(frozen=True)
class Instance:
    """One DescribeDBInstances answer. `created` is InstanceCreateTime; storage is in bytes."""

    identifier: str
    resource_id: str
    arn: str
    status: str
    host: str | None
    port: int
    engine: str
    engine_version: str
    encrypted: bool
    encryption_type: str | None
    kms_key_arn: str | None
    parameter_group: str
    parameter_status: str
    created: datetime | None
    allocated_bytes: int
    max_allocated_bytes: int | None
    log_exports: tuple[str, ...]
    read_replicas: tuple[str, ...]
    replica_of: str | None
    backup_retention_days: int
    deletion_protection: bool

    @classmethod
    def read(cls, answer: dict[str, Any]) -> "Instance":
        endpoint = answer.get("Endpoint") or {}
        group = (answer.get("DBParameterGroups") or [{}])[0]
        ceiling = answer.get("MaxAllocatedStorage")
        return cls(
            identifier=answer["DBInstanceIdentifier"],
            resource_id=answer["DbiResourceId"],
            arn=answer["DBInstanceArn"],
            status=answer["DBInstanceStatus"],
            host=endpoint.get("Address"),
            port=endpoint.get("Port") or answer.get("DbInstancePort") or 5432,
            engine=answer["Engine"],
            engine_version=answer.get("EngineVersion", ""),
            encrypted=bool(answer.get("StorageEncrypted")),
            encryption_type=answer.get("StorageEncryptionType"),
            kms_key_arn=answer.get("KmsKeyId"),
            parameter_group=group.get("DBParameterGroupName", ""),
            parameter_status=group.get("ParameterApplyStatus", ""),
            created=answer.get("InstanceCreateTime"),
            allocated_bytes=int(answer.get("AllocatedStorage") or 0) << 30,
            max_allocated_bytes=int(ceiling) << 30 if ceiling else None,
            log_exports=tuple(answer.get("EnabledCloudwatchLogsExports") or ()),
            read_replicas=tuple(answer.get("ReadReplicaDBInstanceIdentifiers") or ()),
            replica_of=answer.get("ReadReplicaSourceDBInstanceIdentifier"),
            backup_retention_days=int(answer.get("BackupRetentionPeriod") or 0),
            deletion_protection=bool(answer.get("DeletionProtection")),
        )


def find_instance(aws: Aws, identifier: str) -> Instance | None:
    """The instance, or None where AWS says that there is none. Raises Failed where it does not say."""
    try:
        answer = aws.call("rds", "describe_db_instances", DBInstanceIdentifier=identifier)
    except NotFound:
        return None
    return Instance.read(answer["DBInstances"][0])


def instance(aws: Aws, identifier: str) -> Instance:
    """The instance. Raises Failed where there is none."""
    found = find_instance(aws, identifier)
    if found is None:
        raise Failed(
            f"There is no RDS instance {identifier!r}.",
            detail=f"AWS says so, in region {aws.region}.",
            hint="Was it renamed or deleted? Check the stack's outputs and the region.",
        )
    return found


def attach_parameter_group(aws: Aws, identifier: str, group: str) -> None:
    """Attach a parameter group. It acts at the next reboot; this call never reboots."""
    aws.call(
        "rds", "modify_db_instance", DBInstanceIdentifier=identifier, DBParameterGroupName=group, ApplyImmediately=True
    )


def reboot(aws: Aws, identifier: str) -> None:
    """Reboot the instance: its clients are disconnected and come back."""
    aws.call("rds", "reboot_db_instance", DBInstanceIdentifier=identifier)


def wait_for_instance(
    aws: Aws, identifier: str, *, parameters: frozenset[str], reporter: Reporter, clock: Clock
) -> Instance:
    """Wait until the instance is available and its parameter group's apply status is one of `parameters`."""
    seen = "nothing yet"

    def probe() -> Instance | None:
        nonlocal seen
        found = instance(aws, identifier)
        seen = f"{identifier} is {found.status}, its parameters are {found.parameter_status}"
        if found.status in {"failed", "incompatible-parameters", "storage-full", "incompatible-restore"}:
            raise Failed(
                f"The instance {identifier} is {found.status}.",
                detail="It will not become available by itself.",
                hint="See its events (aws rds describe-events) and its error log, mend that, then run this again.",
            )
        return found if found.status == "available" and found.parameter_status in parameters else None

    return wait_until(
        probe,
        what=f"{identifier} to be available ({' or '.join(sorted(parameters))})",
        seconds=AVAILABLE_SECONDS,
        every=0.5,
        reporter=reporter,
        clock=clock,
        progress=lambda: seen,
    )
