"""What AWS answers, as far as the program cares: frozen values, read from the answers at the edge."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stacks.errors import Unsafe

DEFAULT_PORT = 5432


@dataclass(frozen=True)
class Instance:
    """One RDS instance: who it is, and all of it that a target may inherit."""

    identifier: str
    resource_id: str
    engine: str
    engine_version: str
    status: str
    host: str | None
    port: int
    encrypted: bool
    kms_key_arn: str | None
    parameter_group: str | None
    instance_class: str
    subnet_group: str | None
    security_groups: tuple[str, ...]
    multi_az: bool
    log_exports: tuple[str, ...]
    publicly_accessible: bool
    iam_authentication: bool
    copy_tags_to_snapshot: bool
    auto_minor_version_upgrade: bool
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> "Instance":
        endpoint = answer.get("Endpoint") or {}
        groups = answer.get("DBParameterGroups") or [{}]
        return cls(
            identifier=answer["DBInstanceIdentifier"],
            resource_id=answer["DbiResourceId"],
            engine=answer["Engine"],
            engine_version=answer.get("EngineVersion", ""),
            status=answer.get("DBInstanceStatus", ""),
            host=endpoint.get("Address"),
            # An instance that is being made has no endpoint yet, and its DbInstancePort may be 0.
            port=int(endpoint.get("Port") or answer.get("DbInstancePort") or DEFAULT_PORT),
            encrypted=bool(answer.get("StorageEncrypted")),
            kms_key_arn=answer.get("KmsKeyId"),
            parameter_group=groups[0].get("DBParameterGroupName"),
            instance_class=answer["DBInstanceClass"],
            subnet_group=(answer.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            security_groups=tuple(sorted(g["VpcSecurityGroupId"] for g in answer.get("VpcSecurityGroups") or ())),
            multi_az=bool(answer.get("MultiAZ")),
            log_exports=tuple(sorted(answer.get("EnabledCloudwatchLogsExports") or ())),
            publicly_accessible=bool(answer.get("PubliclyAccessible")),
            iam_authentication=bool(answer.get("IAMDatabaseAuthenticationEnabled")),
            copy_tags_to_snapshot=bool(answer.get("CopyTagsToSnapshot")),
            auto_minor_version_upgrade=bool(answer.get("AutoMinorVersionUpgrade", True)),
            tags=tags_of(answer.get("TagList")),
        )


@dataclass(frozen=True)
class Snapshot:
    """One manual snapshot."""

    identifier: str
    arn: str
    kms_key_arn: str | None
    tags: Mapping[str, str]
    status: str = "available"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a group. `user` tells whether somebody set it, as against the engine's default."""

    name: str
    value: str | None
    static: bool
    user: bool


@dataclass(frozen=True)
class IngressRule:
    """One rule that lets another security group in over TCP."""

    identifier: str
    group: str
    referenced: str
    from_port: int
    to_port: int
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Mark:
    """What `controller prepare` wrote when it was done."""

    source_resource_id: str
    attempt: int

    @classmethod
    def parse(cls, name: str, text: str) -> "Mark":
        try:
            document = json.loads(text)
            return cls(str(document["source_resource_id"]), int(document["attempt"]))
        except (ValueError, KeyError, TypeError):
            raise Unsafe(
                f"The SSM parameter {name} does not hold what `controller prepare` writes.",
                "Run `python -m controller prepare` again: it writes it anew.",
            ) from None


def parameter(answer: Mapping[str, Any]) -> Parameter:
    """One element of DescribeDBParameters."""
    # ApplyMethod says what somebody chose; what the engine needs is in ApplyType.
    static = answer.get("ApplyType", "").lower() == "static" or (
        "ApplyType" not in answer and answer.get("ApplyMethod") == "pending-reboot"
    )
    return Parameter(
        name=answer["ParameterName"],
        value=answer.get("ParameterValue"),
        static=static,
        user=answer.get("Source", "user") == "user",
    )


def tags_of(answer: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as AWS lists them, as a dictionary."""
    return {tag["Key"]: tag.get("Value", "") for tag in answer or ()}
