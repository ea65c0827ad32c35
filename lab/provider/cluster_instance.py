"""aws:rds/clusterInstance:ClusterInstance"""

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
from encryptdb.lab.provider.cluster import describe as describe_cluster
from encryptdb.lab.provider.instance import ABSENT
from encryptdb.lab.provider.states import available, gone

CREATED_WITH = {
    "availabilityZone": "AvailabilityZone",
    "caCertIdentifier": "CACertificateIdentifier",
    "dbParameterGroupName": "DBParameterGroupName",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "engineVersion": "EngineVersion",
    "preferredMaintenanceWindow": "PreferredMaintenanceWindow",
}
"""Inputs that CreateDBInstance takes where they are given."""

TOLD = {
    "caCertIdentifier": "CACertificateIdentifier",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "performanceInsightsEnabled": "PerformanceInsightsEnabled",
    "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
    "performanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "preferredMaintenanceWindow": "PreferredMaintenanceWindow",
}
"""Inputs that are read back as AWS tells them. The stack declares none of its members'; who adopts them may."""

MODIFIED_WITH = {
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "caCertIdentifier": "CACertificateIdentifier",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbParameterGroupName": "DBParameterGroupName",
    "instanceClass": "DBInstanceClass",
    "preferredMaintenanceWindow": "PreferredMaintenanceWindow",
    "promotionTier": "PromotionTier",
    "publiclyAccessible": "PubliclyAccessible",
}


class ClusterInstance(Handler):
    """An instance of an Aurora cluster; its id is its identifier. What is encrypted, and how, is the cluster's."""

    replaced_by = frozenset({"availabilityZone", "clusterIdentifier", "dbSubnetGroupName", "engine", "identifier"})
    named_by = "identifier"
    readable = frozenset(
        {
            "autoMinorVersionUpgrade",
            "clusterIdentifier",
            "copyTagsToSnapshot",
            "dbParameterGroupName",
            "engine",
            "identifier",
            "instanceClass",
            "promotionTier",
            "publiclyAccessible",
            "tags",
            *TOLD,
        }
    )
    defaults = MappingProxyType({"monitoringInterval": 0})
    computed = frozenset(
        {
            "applyImmediately",
            "availabilityZone",
            "caCertIdentifier",
            "dbParameterGroupName",
            "dbSubnetGroupName",
            "engineVersion",
            "identifier",
            "preferredMaintenanceWindow",
            "publiclyAccessible",
            *(TOLD.keys() - {"monitoringInterval"}),
        }
    )

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        identity = str(inputs["identifier"])
        given = {aws: inputs[ours] for ours, aws in CREATED_WITH.items() if inputs.get(ours) not in (None, "")}
        calls.call(
            "rds",
            "create_db_instance",
            DBInstanceIdentifier=identity,
            DBClusterIdentifier=inputs["clusterIdentifier"],
            DBInstanceClass=inputs["instanceClass"],
            Engine=inputs["engine"],
            # The Terraform provider has defaults of its own for these, and always passes them.
            AutoMinorVersionUpgrade=bool(inputs.get("autoMinorVersionUpgrade", True)),
            CopyTagsToSnapshot=bool(inputs.get("copyTagsToSnapshot")),
            PromotionTier=int(inputs.get("promotionTier") or 0),
            PubliclyAccessible=bool(inputs.get("publiclyAccessible")),
            Tags=as_tag_list(inputs.get("tags")),
            **given,
        )
        self.settle(calls, identity, inputs, seconds)
        return identity, inputs | (self.read(calls, identity) or {})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = describe(calls, identity)
        if found is None:
            return None
        cluster = describe_cluster(calls, found["DBClusterIdentifier"]) or {}
        writers = [m["DBInstanceIdentifier"] for m in cluster.get("DBClusterMembers") or () if m["IsClusterWriter"]]
        return _outputs(found, writer=identity in writers)

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        found = describe(calls, identity)
        if found is None:
            raise ProviderError(f"the instance {identity} is gone")
        arguments = {
            aws: inputs[ours] for ours, aws in MODIFIED_WITH.items() if ours in changed and inputs.get(ours) is not None
        }
        if "PromotionTier" in arguments:
            arguments["PromotionTier"] = int(arguments["PromotionTier"])
        if arguments:
            calls.call(
                "rds",
                "modify_db_instance",
                DBInstanceIdentifier=identity,
                ApplyImmediately=bool(inputs.get("applyImmediately")),
                **arguments,
            )
            self.settle(calls, identity, inputs, seconds)
        if "tags" in changed:
            retag_rds(calls, found["DBInstanceArn"], inputs.get("tags") or {})
        return inputs | (self.read(calls, identity) or {})

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        try:
            # An instance of a cluster has no snapshot of its own: nothing is said of a final one.
            calls.find("rds", "delete_db_instance", ABSENT, DBInstanceIdentifier=identity)
        except ProviderError as error:
            if not error.code.startswith("InvalidDBInstanceState") or "already being deleted" not in str(error):
                raise
        calls.wait(f"the instance {identity} to be gone", seconds, lambda: gone(_status(describe(calls, identity))))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        found = describe(calls, inputs["identifier"])
        return str(found["DBInstanceIdentifier"]) if found and same_tags(inputs, found.get("TagList")) else None

    def settle(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        what = f"the instance {identity}"
        calls.wait(f"{what} to be available", seconds, lambda: available(what, _status(describe(calls, identity))))


def describe(calls: Calls, identifier: str) -> dict[str, Any] | None:
    """The instance as AWS describes it, or None. Raises ProviderError where it is in no cluster."""
    found = calls.find("rds", "describe_db_instances", ABSENT, DBInstanceIdentifier=identifier)
    if not found or not found["DBInstances"]:
        return None
    instance: dict[str, Any] = found["DBInstances"][0]
    if not instance.get("DBClusterIdentifier"):
        raise ProviderError(f"the instance {identifier} is in no cluster: it is an rds.Instance")
    return instance


def _status(found: dict[str, Any] | None) -> str | None:
    return found["DBInstanceStatus"] if found else None


def _outputs(found: dict[str, Any], *, writer: bool) -> Properties:
    endpoint = found.get("Endpoint") or {}
    tags = as_tags(found.get("TagList"))
    groups = found.get("DBParameterGroups") or [{}]
    return {
        "arn": found["DBInstanceArn"],
        "identifier": found["DBInstanceIdentifier"],
        "clusterIdentifier": found["DBClusterIdentifier"],
        "dbiResourceId": found["DbiResourceId"],
        "writer": writer,
        "endpoint": endpoint.get("Address", ""),
        "port": endpoint.get("Port"),
        "engine": found["Engine"],
        "engineVersionActual": found.get("EngineVersion", ""),
        "instanceClass": found["DBInstanceClass"],
        "storageEncrypted": bool(found.get("StorageEncrypted")),
        "kmsKeyId": found.get("KmsKeyId") or "",
        "dbParameterGroupName": groups[0].get("DBParameterGroupName", ""),
        "autoMinorVersionUpgrade": bool(found.get("AutoMinorVersionUpgrade")),
        "copyTagsToSnapshot": bool(found.get("CopyTagsToSnapshot")),
        "promotionTier": found.get("PromotionTier"),
        "publiclyAccessible": bool(found.get("PubliclyAccessible")),
        "tags": tags,
        "tagsAll": tags,
        **{ours: found[aws] for ours, aws in TOLD.items() if found.get(aws) is not None},
    }
