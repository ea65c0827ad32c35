"""The one reading of DescribeDBInstances and DescribeDBClusters. Pure: AWS's answers in, values out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from encryptdb.stacks.cloud.database import Capacity, Cluster, Instance

DEFAULT_PORT = 5432


def instance(answer: Mapping[str, Any], role: Mapping[str, Any] | None = None) -> Instance:
    """One element of DescribeDBInstances. `role` is what its cluster says of it (DBClusterMembers)."""
    endpoint = answer.get("Endpoint") or {}
    group = (answer.get("DBParameterGroups") or [{}])[0]
    member = answer.get("DBClusterIdentifier") or None
    replicates = "ReadReplicaSourceDBInstanceIdentifier", "ReadReplicaSourceDBClusterIdentifier"
    replications = answer.get("DBInstanceAutomatedBackupsReplications") or ()
    ceiling = answer.get("MaxAllocatedStorage")
    if role is not None:
        parameter_status = role.get("DBClusterParameterGroupStatus", "")
    else:
        parameter_status = "" if member else group.get("ParameterApplyStatus", "")
    return Instance(
        identifier=answer["DBInstanceIdentifier"],
        resource_id=answer.get("DbiResourceId", ""),
        arn=answer.get("DBInstanceArn", ""),
        status=answer.get("DBInstanceStatus", ""),
        host=endpoint.get("Address"),
        # An instance that is being made has no endpoint yet, and its DbInstancePort may be 0.
        port=int(endpoint.get("Port") or answer.get("DbInstancePort") or DEFAULT_PORT),
        parameter_group=group.get("DBParameterGroupName", ""),
        parameter_status=parameter_status,
        instance_class=answer.get("DBInstanceClass", ""),
        subnet_group=(answer.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        multi_az=bool(answer.get("MultiAZ")),
        publicly_accessible=bool(answer.get("PubliclyAccessible")),
        auto_minor_version_upgrade=bool(answer.get("AutoMinorVersionUpgrade", True)),
        promotion_tier=answer.get("PromotionTier"),
        created=answer.get("InstanceCreateTime"),
        max_allocated_bytes=int(ceiling) << 30 if ceiling else None,
        read_replicas=tuple(answer.get("ReadReplicaDBInstanceIdentifiers") or ()),
        replica_of=next((answer[key] for key in replicates if answer.get(key)), None),
        backups_elsewhere=tuple(r["DBInstanceAutomatedBackupsArn"] for r in replications),
        member_of=member,
        writer=bool(role and role.get("IsClusterWriter")),
        **_common(answer),
    )


def cluster(answer: Mapping[str, Any], instances: Iterable[Mapping[str, Any]] = ()) -> Cluster:
    """One element of DescribeDBClusters. `instances` are elements of DescribeDBInstances, its own among them."""
    name = answer["DBClusterIdentifier"]
    roles = {m["DBInstanceIdentifier"]: m for m in answer.get("DBClusterMembers") or ()}
    # An instance that is being made knows its cluster before the cluster knows it.
    own = {
        i["DBInstanceIdentifier"]: i
        for i in instances
        if i["DBInstanceIdentifier"] in roles or i.get("DBClusterIdentifier") == name
    }
    members = [instance(i, roles.get(n)) for n, i in own.items()]
    members.sort(key=lambda m: (not m.writer, _natural(m.identifier)))
    scaling = answer.get("ServerlessV2ScalingConfiguration") or {}
    return Cluster(
        identifier=name,
        resource_id=answer.get("DbClusterResourceId", ""),
        arn=answer.get("DBClusterArn", ""),
        status=answer.get("Status", ""),
        host=answer.get("Endpoint"),
        reader_host=answer.get("ReaderEndpoint"),
        custom_endpoints=tuple(answer.get("CustomEndpoints") or ()),
        port=int(answer.get("Port") or DEFAULT_PORT),
        parameter_group=answer.get("DBClusterParameterGroup", ""),
        parameter_status=next((m.parameter_status for m in members if m.parameter_status != "in-sync"), "in-sync"),
        subnet_group=answer.get("DBSubnetGroup"),
        created=answer.get("ClusterCreateTime"),
        read_replicas=tuple(answer.get("ReadReplicaIdentifiers") or ()),
        replica_of=answer.get("ReplicationSourceIdentifier") or None,
        members=tuple(members),
        missing=tuple(sorted(roles.keys() - own.keys(), key=_natural)),
        engine_mode=answer.get("EngineMode") or "provisioned",
        scalability=answer.get("ClusterScalabilityType") or "standard",
        global_cluster=answer.get("GlobalClusterIdentifier") or None,
        clone_group=answer.get("CloneGroupId"),
        capacity=Capacity(
            float(scaling.get("MinCapacity") or 0),
            float(scaling["MaxCapacity"]),
            scaling.get("SecondsUntilAutoPause"),
        )
        if scaling.get("MaxCapacity")
        else None,
        **_common(answer),
    )


def _common(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What DescribeDBInstances and DescribeDBClusters call by the same names."""
    return {
        "engine": answer.get("Engine", ""),
        "engine_version": answer.get("EngineVersion", ""),
        "encrypted": is_encrypted(answer),
        "encryption_type": answer.get("StorageEncryptionType"),
        "kms_key_arn": answer.get("KmsKeyId") or None,
        "security_groups": tuple(sorted(g["VpcSecurityGroupId"] for g in answer.get("VpcSecurityGroups") or ())),
        "log_exports": tuple(sorted(answer.get("EnabledCloudwatchLogsExports") or ())),
        "iam_authentication": bool(answer.get("IAMDatabaseAuthenticationEnabled")),
        "copy_tags_to_snapshot": bool(answer.get("CopyTagsToSnapshot")),
        "pending": dict(answer.get("PendingModifiedValues") or {}),
        "allocated_bytes": int(answer.get("AllocatedStorage") or 0) << 30,
        "deletion_protection": bool(answer.get("DeletionProtection")),
        "master_secret": (answer.get("MasterUserSecret") or {}).get("SecretArn"),
        "tags": tags_of(answer.get("TagList")),
        "answer": answer,
    }


def is_encrypted(answer: Mapping[str, Any]) -> bool:
    """Whether an instance, cluster, snapshot or backup is encrypted under whatever key: `sse-rds` is, though
    StorageEncrypted (of some: Encrypted) may deny it."""
    flagged = bool(answer.get("StorageEncrypted") or answer.get("Encrypted"))
    return flagged or (answer.get("StorageEncryptionType") or "none") != "none"


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """By which `orders-2` comes before `orders-10`."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name))


def tags_of(answer: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as AWS lists them, as a dictionary."""
    return {tag["Key"]: tag.get("Value", "") for tag in answer or ()}
