"""aws:rds/cluster:Cluster, as far as it is restored from a cluster snapshot."""

from collections.abc import Mapping
from typing import Any

from encryptdb.lab.provider.base import (
    Calls,
    Handler,
    Properties,
    ProviderError,
    as_tag_list,
    as_tags,
    retag_rds,
    same_tags,
)
from encryptdb.lab.provider.cluster_schema import (
    CAPACITY,
    COMPUTED,
    DEFAULTS,
    IMPORTED,
    MODIFIED_AFTER,
    MODIFIED_WITH,
    READ_BACK,
    REPLACED_BY,
    RESTORED_WITH,
    TOLD,
)
from encryptdb.lab.provider.states import available, gone

ABSENT = ("DBClusterNotFound", "DBClusterNotFoundFault")

BUSY_SECONDS = 300.0
"""How long a cluster may be in a state that allows no modification, or no deletion."""


class Cluster(Handler):
    """An Aurora cluster; its id is its identifier. Its instances are resources of their own."""

    replaced_by, readable, computed, defaults, imported = REPLACED_BY, READ_BACK, COMPUTED, DEFAULTS, IMPORTED
    unordered = frozenset({"availabilityZones", "enabledCloudwatchLogsExports", "vpcSecurityGroupIds"})
    named_by = "clusterIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        if not inputs.get("snapshotIdentifier"):
            raise ProviderError("a cluster is only ever restored from a snapshot here, and there is no snapshot")
        identity = str(inputs["clusterIdentifier"])
        calls.call(
            "rds",
            "restore_db_cluster_from_snapshot",
            DBClusterIdentifier=identity,
            SnapshotIdentifier=inputs["snapshotIdentifier"],
            Engine=inputs["engine"],
            CopyTagsToSnapshot=bool(inputs.get("copyTagsToSnapshot")),
            DeletionProtection=bool(inputs.get("deletionProtection")),
            Tags=as_tag_list(inputs.get("tags")),
            **_arguments(inputs, RESTORED_WITH),
        )
        self.settle(calls, identity, inputs, seconds)
        return identity, inputs | (self.read(calls, identity) or {})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = describe(calls, identity)
        return None if found is None else _outputs(found)

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        found = describe(calls, identity)
        if found is None:
            raise ProviderError(f"the cluster {identity} is gone")
        arguments = _arguments(
            inputs, {ours: aws for ours, aws in MODIFIED_WITH.items() if ours in changed}, empty=True
        )
        if "enabledCloudwatchLogsExports" in changed:
            wanted = set(inputs.get("enabledCloudwatchLogsExports") or ())
            standing = set(found.get("EnabledCloudwatchLogsExports") or ())
            arguments["CloudwatchLogsExportConfiguration"] = {
                "EnableLogTypes": sorted(wanted - standing),
                "DisableLogTypes": sorted(standing - wanted),
            }
        if arguments:
            _modify(calls, identity, bool(inputs.get("applyImmediately")), arguments, seconds)
        if "tags" in changed:
            retag_rds(calls, found["DBClusterArn"], inputs.get("tags") or {})
        return inputs | (self.read(calls, identity) or {})

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        if describe(calls, identity) is None:
            return
        arguments: Properties = {
            "DBClusterIdentifier": identity,
            "DeleteAutomatedBackups": bool(inputs.get("deleteAutomatedBackups", True)),
            "SkipFinalSnapshot": bool(inputs.get("skipFinalSnapshot")),
        }
        if not arguments["SkipFinalSnapshot"]:
            if not inputs.get("finalSnapshotIdentifier"):
                raise ProviderError(f"the cluster {identity}: finalSnapshotIdentifier is needed for a final snapshot")
            arguments["FinalDBSnapshotIdentifier"] = inputs["finalSnapshotIdentifier"]
        limit = min(seconds, BUSY_SECONDS)
        try:
            calls.insist(limit, _in_change, "rds", "delete_db_cluster", ABSENT, **arguments)
        except ProviderError as error:
            if not _protected(error) or inputs.get("deletionProtection") or not inputs.get("applyImmediately"):
                raise
            # Somebody else switched it on: what was declared is that there is none.
            _modify(calls, identity, True, {"DeletionProtection": False}, seconds)
            calls.insist(limit, _in_change, "rds", "delete_db_cluster", ABSENT, **arguments)
        calls.wait(f"the cluster {identity} to be gone", seconds, lambda: gone(_status(describe(calls, identity))))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        found = describe(calls, inputs["clusterIdentifier"])
        return str(found["DBClusterIdentifier"]) if found and same_tags(inputs, found.get("TagList")) else None

    def settle(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        _wait(calls, identity, seconds)
        late = _arguments(inputs, MODIFIED_AFTER)
        if late:
            _modify(calls, identity, True, late, seconds)


def describe(calls: Calls, identifier: str) -> dict[str, Any] | None:
    """The cluster as AWS describes it, or None."""
    found = calls.find("rds", "describe_db_clusters", ABSENT, DBClusterIdentifier=identifier)
    return found["DBClusters"][0] if found and found["DBClusters"] else None


def _arguments(inputs: Properties, names: Mapping[str, str], *, empty: bool = False) -> dict[str, Any]:
    """Inputs under AWS's names. A list without elements, or a text without letters, is left out unless `empty`."""
    given = {aws: inputs[ours] for ours, aws in names.items() if inputs.get(ours) is not None}
    if not empty:
        given = {aws: value for aws, value in given.items() if value not in ([], "")}
    for number in ("Port", "BackupRetentionPeriod", "BacktrackWindow"):
        if number in given:
            given[number] = int(given[number])
    if "ServerlessV2ScalingConfiguration" in given:
        given["ServerlessV2ScalingConfiguration"] = _capacity(given["ServerlessV2ScalingConfiguration"])
    return given


def _capacity(block: Properties) -> dict[str, Any]:
    given = {aws: block[ours] for ours, aws in CAPACITY.items() if block.get(ours) is not None}
    if "SecondsUntilAutoPause" in given:
        seconds = int(given.pop("SecondsUntilAutoPause"))
        # The Terraform provider tells when to pause only where the cluster may pause at all.
        if seconds and not given.get("MinCapacity"):
            given["SecondsUntilAutoPause"] = seconds
    return given


def _capacity_of(found: Mapping[str, Any]) -> Properties:
    """The block as AWS tells it; empty for a cluster without one."""
    return {ours: found[aws] for ours, aws in CAPACITY.items() if found.get(aws) is not None}


def _modify(calls: Calls, identity: str, at_once: bool, arguments: dict[str, Any], seconds: float) -> None:
    """Modify the cluster and wait until that is done; until nothing is pending, where it is to be done at once."""
    limit = min(seconds, BUSY_SECONDS)
    calls.insist(
        limit,
        _in_change,
        "rds",
        "modify_db_cluster",
        DBClusterIdentifier=identity,
        ApplyImmediately=at_once,
        **arguments,
    )
    _wait(calls, identity, seconds, applied=at_once)


def _wait(calls: Calls, identity: str, seconds: float, *, applied: bool = False) -> None:
    what = f"the cluster {identity}"

    def probe() -> tuple[bool, str]:
        found = describe(calls, identity)
        done, seen = available(what, _status(found))
        pending = sorted((found or {}).get("PendingModifiedValues") or ()) if applied else []
        return done and not pending, f"{seen}, pending: {', '.join(pending)}" if pending else seen

    calls.wait(f"{what} to be available", seconds, probe)


def _status(found: dict[str, Any] | None) -> str | None:
    return found["Status"] if found else None


def _in_change(error: ProviderError) -> bool:
    """Whether that state passes by itself. That of a cluster which still has instances does not."""
    return error.code.startswith("InvalidDBClusterState") and "instances" not in str(error)


def _protected(error: ProviderError) -> bool:
    return error.code == "InvalidParameterCombination" and "disable deletion pro" in str(error)


def _outputs(found: dict[str, Any]) -> Properties:
    tags = as_tags(found.get("TagList"))
    return {
        "arn": found["DBClusterArn"],
        "clusterIdentifier": found["DBClusterIdentifier"],
        "clusterResourceId": found["DbClusterResourceId"],
        "clusterMembers": sorted(m["DBInstanceIdentifier"] for m in found.get("DBClusterMembers") or ()),
        "endpoint": found.get("Endpoint", ""),
        "readerEndpoint": found.get("ReaderEndpoint", ""),
        "port": found.get("Port"),
        "hostedZoneId": found.get("HostedZoneId", ""),
        "engine": found["Engine"],
        "engineMode": found.get("EngineMode", ""),
        "engineVersion": found.get("EngineVersion", ""),
        "engineVersionActual": found.get("EngineVersion", ""),
        "serverlessv2ScalingConfiguration": _capacity_of(found.get("ServerlessV2ScalingConfiguration") or {}),
        "copyTagsToSnapshot": bool(found.get("CopyTagsToSnapshot")),
        "enabledCloudwatchLogsExports": sorted(found.get("EnabledCloudwatchLogsExports") or ()),
        "storageEncrypted": bool(found.get("StorageEncrypted")),
        "kmsKeyId": found.get("KmsKeyId") or "",
        "dbClusterParameterGroupName": found.get("DBClusterParameterGroup", ""),
        "dbSubnetGroupName": found.get("DBSubnetGroup") or "",
        "deletionProtection": bool(found.get("DeletionProtection")),
        "iamDatabaseAuthenticationEnabled": bool(found.get("IAMDatabaseAuthenticationEnabled")),
        "vpcSecurityGroupIds": sorted(g["VpcSecurityGroupId"] for g in found.get("VpcSecurityGroups") or ()),
        "tags": tags,
        "tagsAll": tags,
        **{ours: found[aws] for ours, aws in TOLD.items() if found.get(aws) is not None},
    }
