"""What AWS says about the source, the target and their parameter groups. Reads only."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.aws import Aws, NotFound
from controller.errors import Problem
from controller.preflight.facts import CloudFacts, CloudInstance
from stacks.outputs import Outputs


def read_cloud(aws: Aws, outputs: Outputs) -> CloudFacts:
    """Describe both sides and the user-set parameters of their groups. Raises a Problem where AWS does not answer."""
    cluster = outputs.engine == "aurora-postgresql"
    find = _cluster if cluster else _instance
    source = find(aws, outputs.source.identifier)
    target = find(aws, outputs.target.identifier) if outputs.target is not None else None
    groups = {g for g in (outputs.source_parameter_group, outputs.target_parameter_group) if g}
    free, unknown = (None, "an Aurora volume grows by itself") if cluster else _free(aws, outputs.source.identifier)
    return CloudFacts(
        source=source,
        target=target,
        groups={g: _parameters(aws, g, cluster) for g in sorted(groups)},
        free_bytes=free,
        free_unknown=unknown,
    )


def _instance(aws: Aws, identifier: str) -> CloudInstance | None:
    try:
        found = aws.call("rds", "describe_db_instances", DBInstanceIdentifier=identifier)["DBInstances"][0]
    except NotFound:
        return None
    group = (found.get("DBParameterGroups") or [{}])[0]
    ceiling = found.get("MaxAllocatedStorage")
    return CloudInstance(
        identifier=found["DBInstanceIdentifier"],
        resource_id=found["DbiResourceId"],
        parameter_group=group.get("DBParameterGroupName", ""),
        parameter_status=group.get("ParameterApplyStatus", ""),
        max_allocated_bytes=int(ceiling) << 30 if ceiling else None,
        read_replicas=tuple(found.get("ReadReplicaDBInstanceIdentifiers") or ()),
        replica_of=found.get("ReadReplicaSourceDBInstanceIdentifier"),
        status=found["DBInstanceStatus"],
        **_common(found),
    )


def _cluster(aws: Aws, identifier: str) -> CloudInstance | None:
    try:
        found = aws.call("rds", "describe_db_clusters", DBClusterIdentifier=identifier)["DBClusters"][0]
    except NotFound:
        return None
    return CloudInstance(
        identifier=found["DBClusterIdentifier"],
        resource_id=found.get("DbClusterResourceId", ""),
        parameter_group=found.get("DBClusterParameterGroup", ""),
        # A cluster has no apply status of its own: its members have.
        parameter_status="",
        max_allocated_bytes=None,
        read_replicas=tuple(found.get("ReadReplicaIdentifiers") or ()),
        replica_of=found.get("ReplicationSourceIdentifier"),
        status=found["Status"],
        **_common(found),
    )


def _common(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "engine": found["Engine"],
        "encrypted": bool(found.get("StorageEncrypted")),
        "encryption_type": found.get("StorageEncryptionType"),
        "kms_key": found.get("KmsKeyId"),
        "pending": dict(found.get("PendingModifiedValues") or {}),
        "public": bool(found.get("PubliclyAccessible")),
        "allocated_bytes": int(found.get("AllocatedStorage") or 0) << 30,
    }


def _parameters(aws: Aws, group: str, cluster: bool) -> dict[str, str] | None:
    """The parameters that someone set in the group, or None where there is no such group."""
    operation = "describe_db_cluster_parameters" if cluster else "describe_db_parameters"
    key = "DBClusterParameterGroupName" if cluster else "DBParameterGroupName"
    try:
        found = list(aws.pages("rds", operation, "Parameters", **{key: group, "Source": "user"}))
    except NotFound:
        return None
    except Problem as problem:
        # The code for a parameter group is none of those that the door to AWS takes for "no such thing".
        if "ParameterGroupNotFound" in (problem.detail or ""):
            return None
        raise
    return {p["ParameterName"]: p["ParameterValue"] for p in found if p.get("ParameterValue") is not None}


def _free(aws: Aws, identifier: str) -> tuple[int | None, str | None]:
    """The lowest FreeStorageSpace of the last 15 minutes, in bytes, or why it is not known."""
    now = datetime.now(UTC)
    try:
        answer = aws.call(
            "cloudwatch",
            "get_metric_statistics",
            Namespace="AWS/RDS",
            MetricName="FreeStorageSpace",
            Dimensions=[{"Name": "DBInstanceIdentifier", "Value": identifier}],
            StartTime=now - timedelta(minutes=15),
            # Whole seconds travel: a figure of this very second would be left out.
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Minimum"],
        )
    except Problem as problem:
        return None, problem.detail or problem.message
    points = [point["Minimum"] for point in answer.get("Datapoints") or ()]
    return (int(min(points)), None) if points else (None, "CloudWatch has no figure of the last 15 minutes")
