"""What the Terraform provider does with each input of an Aurora cluster: its schema, as far as the lab follows it.

Read in hashicorp/terraform-provider-aws, internal/service/rds/cluster.go; not measured on AWS.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

REPLACED_BY = frozenset(
    {
        "availabilityZones",
        "clusterIdentifier",
        "clusterScalabilityType",
        "databaseName",
        "dbSubnetGroupName",
        "engine",
        "engineMode",
        "kmsKeyId",
        "masterUsername",
        "snapshotIdentifier",
        "storageEncrypted",
    }
)
"""ForceNew."""

TOLD = {
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "databaseInsightsMode": "DatabaseInsightsMode",
    "enableHttpEndpoint": "HttpEndpointEnabled",
    "networkType": "NetworkType",
    "preferredBackupWindow": "PreferredBackupWindow",
    "preferredMaintenanceWindow": "PreferredMaintenanceWindow",
}
"""Inputs that are read back as AWS tells them. What is restored from a snapshot declares none; who adopts it may."""

DEFAULTS = MappingProxyType({"deleteAutomatedBackups": True, "enableHttpEndpoint": False})

READ_BACK = frozenset(
    {
        *TOLD,
        "clusterIdentifier",
        "copyTagsToSnapshot",
        "dbClusterParameterGroupName",
        "dbSubnetGroupName",
        "deletionProtection",
        "enabledCloudwatchLogsExports",
        "engine",
        "engineMode",
        "engineVersion",
        "iamDatabaseAuthenticationEnabled",
        "kmsKeyId",
        "port",
        "serverlessv2ScalingConfiguration",
        "storageEncrypted",
        "tags",
        "vpcSecurityGroupIds",
    }
)
"""What a refresh finds; never `snapshotIdentifier`. Of the others, the lab leaves out what nobody declares."""

COMPUTED = frozenset(
    {
        "applyImmediately",
        "availabilityZones",
        "backupRetentionPeriod",
        "clusterIdentifier",
        "clusterScalabilityType",
        "databaseInsightsMode",
        "databaseName",
        "dbClusterParameterGroupName",
        "dbSubnetGroupName",
        "engineVersion",
        "kmsKeyId",
        "masterUsername",
        "networkType",
        "port",
        "preferredBackupWindow",
        "preferredMaintenanceWindow",
        "storageEncrypted",
        "storageType",
        "vpcSecurityGroupIds",
        # Not computed, but a DiffSuppressFunc or a default that is what stands comes to the same.
        "engineMode",
        "serverlessv2ScalingConfiguration",
        "snapshotIdentifier",
    }
)
"""To leave one of these out is no difference."""

IMPORTED: Mapping[str, Any] = MappingProxyType({"deleteAutomatedBackups": True, "skipFinalSnapshot": True})
"""What the importer sets, because it cannot be read."""

RESTORED_WITH = {
    "availabilityZones": "AvailabilityZones",
    "backtrackWindow": "BacktrackWindow",
    "databaseName": "DatabaseName",
    "dbClusterParameterGroupName": "DBClusterParameterGroupName",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "engineMode": "EngineMode",
    "engineVersion": "EngineVersion",
    # The Terraform provider forgets this one until its next update (hashicorp/terraform-provider-aws#35189).
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "kmsKeyId": "KmsKeyId",
    "networkType": "NetworkType",
    "port": "Port",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
"""Inputs that RestoreDBClusterFromSnapshot takes, as the Terraform provider passes them on.

There is none for encryption but the key: `storageEncrypted` without one leaves a cluster unencrypted.
"""

MODIFIED_AFTER = {
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "preferredBackupWindow": "PreferredBackupWindow",
    "preferredMaintenanceWindow": "PreferredMaintenanceWindow",
    "serverlessv2ScalingConfiguration": "ServerlessV2ScalingConfiguration",
}
"""Inputs that it does not take, or not reliably: a modification brings them once the cluster is there."""

MODIFIED_WITH = {
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbClusterParameterGroupName": "DBClusterParameterGroupName",
    "deletionProtection": "DeletionProtection",
    "engineVersion": "EngineVersion",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "networkType": "NetworkType",
    "port": "Port",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
    **MODIFIED_AFTER,
}

CAPACITY = {
    "minCapacity": "MinCapacity",
    "maxCapacity": "MaxCapacity",
    "secondsUntilAutoPause": "SecondsUntilAutoPause",
}
