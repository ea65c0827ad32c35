"""aws:rds/instance:Instance, as far as it is restored from a snapshot."""

from types import MappingProxyType
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
from encryptdb.lab.provider.states import available, gone

ABSENT = ("DBInstanceNotFound", "DBInstanceNotFoundFault")

RESTORED_WITH = {
    "dbSubnetGroupName": "DBSubnetGroupName",
    "multiAz": "MultiAZ",
    "publiclyAccessible": "PubliclyAccessible",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "deletionProtection": "DeletionProtection",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "parameterGroupName": "DBParameterGroupName",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "port": "Port",
}
"""Inputs that RestoreDBInstanceFromDBSnapshot takes, as the Terraform provider passes them on."""

TOLD = {
    "engine": "Engine",
    "engineVersion": "EngineVersion",
    "allocatedStorage": "AllocatedStorage",
    "maxAllocatedStorage": "MaxAllocatedStorage",
    "storageType": "StorageType",
    "iops": "Iops",
    "storageThroughput": "StorageThroughput",
    "dedicatedLogVolume": "DedicatedLogVolume",
    "networkType": "NetworkType",
    "caCertIdentifier": "CACertificateIdentifier",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "backupWindow": "PreferredBackupWindow",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "performanceInsightsEnabled": "PerformanceInsightsEnabled",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "performanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "databaseInsightsMode": "DatabaseInsightsMode",
}
"""Inputs that are read back as AWS tells them. What is restored from a snapshot declares none; who adopts it may."""

NUMBERS = frozenset(
    {
        "AllocatedStorage",
        "BackupRetentionPeriod",
        "DBPortNumber",
        "Iops",
        "MaxAllocatedStorage",
        "MonitoringInterval",
        "StorageThroughput",
    }
)
"""Arguments that travel to a provider as floating-point numbers."""

MODIFIED_WITH = {
    **{k: v for k, v in TOLD.items() if k not in ("engine", "performanceInsightsEnabled")},
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "optionGroupName": "OptionGroupName",
    "instanceClass": "DBInstanceClass",
    "identifier": "NewDBInstanceIdentifier",
    "port": "DBPortNumber",
    **{k: v for k, v in RESTORED_WITH.items() if k not in ("enabledCloudwatchLogsExports", "port")},
}

DEFAULTS = MappingProxyType({"dedicatedLogVolume": False, "monitoringInterval": 0, "performanceInsightsEnabled": False})

NOT_IN_AWS = frozenset({"applyImmediately", "skipFinalSnapshot", "finalSnapshotIdentifier", "tags"})
"""Inputs that a change of does not ask for a modification."""


class Instance(Handler):
    """An RDS instance; its id is its resource id, since pulumi-aws 6."""

    replaced_by = frozenset(
        {"snapshotIdentifier", "storageEncrypted", "kmsKeyId", "availabilityZone", "dbName", "engine", "username"}
    )
    unordered = frozenset({"vpcSecurityGroupIds", "enabledCloudwatchLogsExports"})
    named_by = "identifier"
    readable = frozenset(
        {
            "instanceClass",
            "identifier",
            "storageEncrypted",
            "kmsKeyId",
            "optionGroupName",
            "tags",
            *RESTORED_WITH,
            *TOLD,
        }
    )
    computed = frozenset(
        {
            "identifier",
            "kmsKeyId",
            "dbSubnetGroupName",
            "multiAz",
            "parameterGroupName",
            "vpcSecurityGroupIds",
            "port",
            "optionGroupName",
            *(TOLD.keys() - DEFAULTS.keys() - {"maxAllocatedStorage"}),
        }
    )
    defaults = DEFAULTS
    imported = MappingProxyType({"skipFinalSnapshot": True})

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        if not inputs.get("snapshotIdentifier"):
            raise ProviderError("an instance is only ever restored from a snapshot here, and there is no snapshot")
        arguments = {aws: inputs[ours] for ours, aws in RESTORED_WITH.items() if inputs.get(ours) not in (None, [], "")}
        if "Port" in arguments:
            arguments["Port"] = int(arguments["Port"])
        answer = calls.call(
            "rds",
            "restore_db_instance_from_db_snapshot",
            DBInstanceIdentifier=inputs["identifier"],
            DBSnapshotIdentifier=inputs["snapshotIdentifier"],
            DBInstanceClass=inputs["instanceClass"],
            Tags=as_tag_list(inputs.get("tags")),
            **arguments,
        )
        identity = str(answer["DBInstance"]["DbiResourceId"])
        self.settle(calls, identity, inputs, seconds)
        return identity, inputs | (self.read(calls, identity) or {})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = describe(calls, identity)
        return None if found is None else _outputs(found)

    def identity(self, outputs: Properties, asked: str) -> str:
        return str(outputs["resourceId"])

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        found = describe(calls, identity)
        if found is None:
            raise ProviderError(f"the instance {inputs['identifier']} ({identity}) is gone")
        arguments = {aws: inputs[ours] for ours, aws in MODIFIED_WITH.items() if ours in changed and ours in inputs}
        if "enabledCloudwatchLogsExports" in changed:
            wanted = set(inputs.get("enabledCloudwatchLogsExports") or ())
            standing = set(found.get("EnabledCloudwatchLogsExports") or ())
            arguments["CloudwatchLogsExportConfiguration"] = {
                "EnableLogTypes": sorted(wanted - standing),
                "DisableLogTypes": sorted(standing - wanted),
            }
        for number in NUMBERS & arguments.keys():
            arguments[number] = int(arguments[number])
        if arguments:
            calls.call(
                "rds",
                "modify_db_instance",
                DBInstanceIdentifier=found["DBInstanceIdentifier"],
                ApplyImmediately=bool(inputs.get("applyImmediately")),
                **arguments,
            )
            self.settle(calls, identity, inputs, seconds)
        if "tags" in changed:
            retag_rds(calls, found["DBInstanceArn"], inputs.get("tags") or {})
        return inputs | (self.read(calls, identity) or {})

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        found = describe(calls, identity)
        if found is None:
            return
        final: Properties = {"SkipFinalSnapshot": bool(inputs.get("skipFinalSnapshot"))}
        if not final["SkipFinalSnapshot"]:
            final["FinalDBSnapshotIdentifier"] = inputs["finalSnapshotIdentifier"]
        calls.call("rds", "delete_db_instance", DBInstanceIdentifier=found["DBInstanceIdentifier"], **final)
        what = f"the instance {found['DBInstanceIdentifier']}"
        calls.wait(f"{what} to be gone", seconds, lambda: gone(_status(describe(calls, identity))))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        found = calls.find("rds", "describe_db_instances", ABSENT, DBInstanceIdentifier=inputs["identifier"])
        if not found or not found["DBInstances"] or not same_tags(inputs, found["DBInstances"][0].get("TagList")):
            return None
        return str(found["DBInstances"][0]["DbiResourceId"])

    def settle(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        what = f"the instance {inputs.get('identifier', identity)}"
        calls.wait(f"{what} to be available", seconds, lambda: available(what, _status(describe(calls, identity))))


def describe(calls: Calls, resource_id: str) -> dict[str, Any] | None:
    """The instance with that resource id as AWS describes it, or None. A rename does not hide it.

    An import may give the identifier instead.
    """
    if not resource_id.startswith("db-"):
        found = calls.find("rds", "describe_db_instances", ABSENT, DBInstanceIdentifier=resource_id)
        return dict(found["DBInstances"][0]) if found and found["DBInstances"] else None
    for page in calls.client("rds").get_paginator("describe_db_instances").paginate():
        for instance in page["DBInstances"]:
            if instance["DbiResourceId"] == resource_id:
                return dict(instance)
    return None


def _status(found: dict[str, Any] | None) -> str | None:
    return found["DBInstanceStatus"] if found else None


def _outputs(found: dict[str, Any]) -> Properties:
    endpoint = found.get("Endpoint") or {}
    tags = as_tags(found.get("TagList"))
    groups = found.get("DBParameterGroups") or [{}]
    return {
        "address": endpoint.get("Address", ""),
        "port": endpoint.get("Port"),
        "endpoint": f"{endpoint.get('Address', '')}:{endpoint.get('Port', '')}",
        "arn": found["DBInstanceArn"],
        "identifier": found["DBInstanceIdentifier"],
        "resourceId": found["DbiResourceId"],
        "status": found["DBInstanceStatus"],
        "engine": found["Engine"],
        "engineVersionActual": found.get("EngineVersion", ""),
        "instanceClass": found["DBInstanceClass"],
        "storageEncrypted": bool(found.get("StorageEncrypted")),
        "kmsKeyId": found.get("KmsKeyId") or "",
        "multiAz": bool(found.get("MultiAZ")),
        "publiclyAccessible": bool(found.get("PubliclyAccessible")),
        "deletionProtection": bool(found.get("DeletionProtection")),
        "parameterGroupName": groups[0].get("DBParameterGroupName", ""),
        "dbSubnetGroupName": (found.get("DBSubnetGroup") or {}).get("DBSubnetGroupName", ""),
        "vpcSecurityGroupIds": sorted(g["VpcSecurityGroupId"] for g in found.get("VpcSecurityGroups") or ()),
        "enabledCloudwatchLogsExports": sorted(found.get("EnabledCloudwatchLogsExports") or ()),
        "iamDatabaseAuthenticationEnabled": bool(found.get("IAMDatabaseAuthenticationEnabled")),
        "copyTagsToSnapshot": bool(found.get("CopyTagsToSnapshot")),
        "autoMinorVersionUpgrade": bool(found.get("AutoMinorVersionUpgrade")),
        "tags": tags,
        "tagsAll": tags,
        "optionGroupName": (found.get("OptionGroupMemberships") or [{}])[0].get("OptionGroupName", ""),
        **{ours: found[aws] for ours, aws in TOLD.items() if found.get(aws) is not None},
    }
