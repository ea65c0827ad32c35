"""What AWS answers, as far as the program cares: frozen values, read from the answers at the edge."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from encryptdb.stacks.errors import Unsafe

DEFAULT_PORT = 5432


@dataclass(frozen=True, kw_only=True)
class Database:
    """An RDS instance or an Aurora cluster, as far as the two are alike: who it is, and what a target may inherit.

    `kms_key_arn` is None where it is not encrypted, and where it is under a key that AWS keeps to itself.
    """

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
    subnet_group: str | None
    security_groups: tuple[str, ...]
    log_exports: tuple[str, ...]
    iam_authentication: bool
    copy_tags_to_snapshot: bool
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it shows what it is going to be; one that is still being made does not."""
        return self.host is not None

    @property
    def public(self) -> bool:
        """Whether all of it is publicly accessible."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Instance(Database):
    """One instance: an RDS database by itself, or a member of the cluster that `cluster` names."""

    instance_class: str
    multi_az: bool
    publicly_accessible: bool
    auto_minor_version_upgrade: bool
    promotion_tier: int | None = None
    cluster: str | None = None

    @property
    def public(self) -> bool:
        return self.publicly_accessible

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
            security_groups=_security_groups(answer),
            multi_az=bool(answer.get("MultiAZ")),
            log_exports=tuple(sorted(answer.get("EnabledCloudwatchLogsExports") or ())),
            publicly_accessible=bool(answer.get("PubliclyAccessible")),
            iam_authentication=bool(answer.get("IAMDatabaseAuthenticationEnabled")),
            copy_tags_to_snapshot=bool(answer.get("CopyTagsToSnapshot")),
            auto_minor_version_upgrade=bool(answer.get("AutoMinorVersionUpgrade", True)),
            promotion_tier=answer.get("PromotionTier"),
            cluster=answer.get("DBClusterIdentifier"),
            tags=tags_of(answer.get("TagList")),
        )


@dataclass(frozen=True)
class Capacity:
    """The range of a Serverless v2 cluster, in Aurora capacity units."""

    least: float
    most: float
    pause_after: int | None = None
    """Seconds of idleness."""


@dataclass(frozen=True, kw_only=True)
class Cluster(Database):
    """One Aurora cluster and its instances, the writer first."""

    reader_host: str | None
    members: tuple[Instance, ...]
    engine_mode: str = "provisioned"
    scalability: str = "standard"
    global_cluster: str | None = None
    replicates: str | None = None
    """The ARN of the instance or cluster that it is a replica of."""
    capacity: Capacity | None = None

    @property
    def complete(self) -> bool:
        # A cluster has its endpoints from the first moment on.
        return self.host is not None and self.status != "creating"

    @property
    def public(self) -> bool:
        return bool(self.members) and all(m.publicly_accessible for m in self.members)

    @classmethod
    def read(cls, answer: Mapping[str, Any], instances: Mapping[str, Instance]) -> "Cluster":
        """`instances` are those of the region, by identifier."""
        roles = {
            m["DBInstanceIdentifier"]: bool(m.get("IsClusterWriter")) for m in answer.get("DBClusterMembers") or ()
        }
        # An instance that is being made knows its cluster before the cluster knows it.
        names = {n for n, i in instances.items() if n in roles or i.cluster == answer["DBClusterIdentifier"]}
        members = sorted(names, key=lambda name: (not roles.get(name), _natural(name)))
        # `sse-rds` is encrypted, though StorageEncrypted may deny it.
        kind = answer.get("StorageEncryptionType") or "none"
        scaling = answer.get("ServerlessV2ScalingConfiguration") or {}
        return cls(
            identifier=answer["DBClusterIdentifier"],
            resource_id=answer["DbClusterResourceId"],
            engine=answer["Engine"],
            engine_version=answer.get("EngineVersion", ""),
            status=answer.get("Status", ""),
            host=answer.get("Endpoint"),
            reader_host=answer.get("ReaderEndpoint"),
            port=int(answer.get("Port") or DEFAULT_PORT),
            encrypted=bool(answer.get("StorageEncrypted")) or kind != "none",
            kms_key_arn=answer.get("KmsKeyId") or None,
            parameter_group=answer.get("DBClusterParameterGroup"),
            subnet_group=answer.get("DBSubnetGroup"),
            security_groups=_security_groups(answer),
            log_exports=tuple(sorted(answer.get("EnabledCloudwatchLogsExports") or ())),
            iam_authentication=bool(answer.get("IAMDatabaseAuthenticationEnabled")),
            copy_tags_to_snapshot=bool(answer.get("CopyTagsToSnapshot")),
            members=tuple(instances[name] for name in members),
            engine_mode=answer.get("EngineMode") or "provisioned",
            scalability=answer.get("ClusterScalabilityType") or "standard",
            global_cluster=answer.get("GlobalClusterIdentifier") or None,
            replicates=answer.get("ReplicationSourceIdentifier") or None,
            capacity=Capacity(
                float(scaling.get("MinCapacity") or 0),
                float(scaling["MaxCapacity"]),
                scaling.get("SecondsUntilAutoPause"),
            )
            if scaling.get("MaxCapacity")
            else None,
            tags=tags_of(answer.get("TagList")),
        )


@dataclass(frozen=True)
class Snapshot:
    """One manual snapshot, of an instance or of a cluster."""

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
class PreparedParameter:
    """What `controller prepare` wrote when it was done."""

    source_resource_id: str
    attempt: int

    @classmethod
    def parse(cls, name: str, text: str) -> "PreparedParameter":
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


def _security_groups(answer: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(g["VpcSecurityGroupId"] for g in answer.get("VpcSecurityGroups") or ()))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """By which `orders-2` comes before `orders-10`."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name))


def tags_of(answer: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as AWS lists them, as a dictionary."""
    return {tag["Key"]: tag.get("Value", "") for tag in answer or ()}
