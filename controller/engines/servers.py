"""DescribeDBInstances and DescribeDBClusters as `settings.Server`. Pure but for `parameter_group`, which asks AWS."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from encryptdb.controller.engines.settings import Parameter, ParameterGroup, Server
from encryptdb.controller.engines.tables import CLUSTER, INSTANCE, MEMBER, settings, tags
from encryptdb.stacks.cloud.client import Aws, NotFound

GP3_THRESHOLD = 400
"""GiB below which nobody chooses IOPS and throughput of gp3 for PostgreSQL (RDS User Guide, DB instance storage)."""


def instance(answer: Mapping[str, Any]) -> Server:
    """One RDS instance."""
    found = settings(INSTANCE, answer)
    if answer.get("StorageType") == "gp3" and int(answer.get("AllocatedStorage") or 0) < GP3_THRESHOLD:
        fixed = ("iops", "storage_throughput")
        found = tuple(replace(s, argument=None, option=None) if s.argument in fixed else s for s in found)
    replications = answer.get("DBInstanceAutomatedBackupsReplications") or ()
    return Server(
        "instance",
        settings=found,
        group=(answer.get("DBParameterGroups") or [{}])[0].get("DBParameterGroupName", ""),
        replicas=tuple(answer.get("ReadReplicaDBInstanceIdentifiers") or ()),
        backups_elsewhere=tuple(r["DBInstanceAutomatedBackupsArn"] for r in replications),
        **_common(answer),
    )


def cluster(answer: Mapping[str, Any], instances: list[dict[str, Any]]) -> tuple[Server, ...]:
    """One Aurora cluster and, after it, its instances, the writer first."""
    members = {m["DBInstanceIdentifier"]: bool(m.get("IsClusterWriter")) for m in answer.get("DBClusterMembers") or ()}
    ordered = sorted(instances, key=lambda i: not members.get(i["DBInstanceIdentifier"]))
    hosts = (answer.get("Endpoint"), answer.get("ReaderEndpoint"), *(answer.get("CustomEndpoints") or ()))
    whole = Server(
        "cluster",
        identifier=answer["DBClusterIdentifier"],
        resource_id=answer.get("DbClusterResourceId", ""),
        arn=answer.get("DBClusterArn", ""),
        hosts=tuple(h for h in hosts if h),
        group=answer.get("DBClusterParameterGroup", ""),
        settings=settings(CLUSTER, answer),
        tags=tags(answer),
        replicas=tuple(answer.get("ReadReplicaIdentifiers") or ()),
    )
    return (whole, *(Server("member", settings=settings(MEMBER, i), group="", **_common(i)) for i in ordered))


def _common(answer: Mapping[str, Any]) -> dict[str, Any]:
    host = (answer.get("Endpoint") or {}).get("Address")
    return {
        "identifier": answer["DBInstanceIdentifier"],
        "resource_id": answer.get("DbiResourceId", ""),
        "arn": answer.get("DBInstanceArn", ""),
        "hosts": (host,) if host else (),
        "tags": tags(answer),
    }


Noun = Literal["parameter-group", "cluster-parameter-group"]

CALLS: Mapping[Noun, tuple[str, str, str, str]] = {
    "parameter-group": (
        "describe_db_parameter_groups",
        "DBParameterGroups",
        "DBParameterGroupName",
        "DBParameterGroupArn",
    ),
    "cluster-parameter-group": (
        "describe_db_cluster_parameter_groups",
        "DBClusterParameterGroups",
        "DBClusterParameterGroupName",
        "DBClusterParameterGroupArn",
    ),
}


def parameter_group(aws: Aws, noun: Noun, name: str) -> ParameterGroup | None:
    """The group with what someone set in it; None where AWS says that there is none."""
    describe, key, named, arn = CALLS[noun]
    given = {named: name}
    try:
        group = aws.call("rds", describe, **given)[key][0]
        if noun == "parameter-group":
            rows = list(aws.pages("rds", "describe_db_parameters", "Parameters", **given, Source="user"))
        else:
            rows = list(aws.pages("rds", "describe_db_cluster_parameters", "Parameters", **given, Source="user"))
        listed = aws.call("rds", "list_tags_for_resource", ResourceName=group[arn])
    except NotFound:
        return None
    return ParameterGroup(
        noun=noun,
        name=group[named],
        family=group["DBParameterGroupFamily"],
        description=group.get("Description", ""),
        tags=tags(listed),
        parameters=tuple(
            Parameter(p["ParameterName"], p["ParameterValue"], p.get("ApplyMethod") or "immediate")
            for p in sorted(rows, key=lambda p: str(p["ParameterName"]))
            if p.get("ParameterValue") is not None
        ),
    )
