"""An instance and a cluster as AWS describes them, and a Found made of them."""

from dataclasses import replace
from typing import Any

from encryptdb.controller.adopt.found import Found
from encryptdb.controller.engines import Parameter, ParameterGroup
from encryptdb.controller.engines.settings import Server, servers_of
from encryptdb.stacks.cloud import answers
from encryptdb.stacks.contract.outputs import Outputs, Side

REGION, ACCOUNT = "eu-central-1", "123456789012"


def instance_answer(identifier: str = "orders", **changed: Any) -> dict[str, Any]:
    """One element of DescribeDBInstances."""
    return {
        "DBInstanceIdentifier": identifier,
        "DbiResourceId": f"db-{identifier.upper()}",
        "DBInstanceArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:db:{identifier}",
        "DBInstanceStatus": "available",
        "Endpoint": {"Address": f"{identifier}.abc123.{REGION}.rds.amazonaws.com", "Port": 5432},
        "Engine": "postgres",
        "EngineVersion": "15.4",
        "DBInstanceClass": "db.m6g.large",
        "AllocatedStorage": 500,
        "StorageType": "gp3",
        "Iops": 12000,
        "StorageThroughput": 500,
        "StorageEncrypted": identifier != "orders",
        "DBSubnetGroup": {"DBSubnetGroupName": "private"},
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
        "DBParameterGroups": [{"DBParameterGroupName": f"{identifier}-group"}],
        "OptionGroupMemberships": [{"OptionGroupName": "default:postgres-15"}],
        "MultiAZ": False,
        "PubliclyAccessible": False,
        "NetworkType": "IPV4",
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "BackupRetentionPeriod": 7,
        "PreferredBackupWindow": "02:00-02:30",
        "PreferredMaintenanceWindow": "Sun:04:00-Sun:04:30",
        "MonitoringInterval": 0,
        "PerformanceInsightsEnabled": False,
        "EnabledCloudwatchLogsExports": ["postgresql"],
        "IAMDatabaseAuthenticationEnabled": False,
        "CopyTagsToSnapshot": True,
        "AutoMinorVersionUpgrade": True,
        "DeletionProtection": identifier != "orders",
        "TagList": [{"Key": "team", "Value": "orders"}, {"Key": "aws:cloudformation:stack-name", "Value": "x"}],
        **changed,
    }


def cluster_answer(identifier: str = "orders", members: int = 2, **changed: Any) -> dict[str, Any]:
    """One element of DescribeDBClusters."""
    return {
        "DBClusterIdentifier": identifier,
        "DbClusterResourceId": f"cluster-{identifier.upper()}",
        "DBClusterArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{identifier}",
        "Status": "available",
        "Endpoint": f"{identifier}.cluster-abc123.{REGION}.rds.amazonaws.com",
        "ReaderEndpoint": f"{identifier}.cluster-ro-abc123.{REGION}.rds.amazonaws.com",
        "Port": 5432,
        "Engine": "aurora-postgresql",
        "EngineVersion": "15.4",
        "StorageType": "aurora",
        "StorageEncrypted": identifier != "orders",
        "DBSubnetGroup": "private",
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
        "DBClusterParameterGroup": f"{identifier}-group",
        "BackupRetentionPeriod": 7,
        "PreferredBackupWindow": "02:00-02:30",
        "PreferredMaintenanceWindow": "Sun:04:00-Sun:04:30",
        "EnabledCloudwatchLogsExports": ["postgresql"],
        "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 8.0},
        "TagList": [{"Key": "team", "Value": "orders"}],
        "DBClusterMembers": [
            {"DBInstanceIdentifier": f"{identifier}-{n}", "IsClusterWriter": n == members}
            for n in range(1, members + 1)
        ],
        **changed,
    }


def member_answer(identifier: str, **changed: Any) -> dict[str, Any]:
    of_a_cluster: dict[str, Any] = {
        "Engine": "aurora-postgresql",
        "PromotionTier": 1,
        "DBParameterGroups": [{"DBParameterGroupName": "default.aurora-postgresql15"}],
        "TagList": [],
    }
    return instance_answer(identifier, **of_a_cluster) | changed


def instance(answer: dict[str, Any]) -> Server:
    """An instance as adopt sees it."""
    return servers_of(answers.instance(answer))[0]


def cluster(answer: dict[str, Any], instances: list[dict[str, Any]]) -> tuple[Server, ...]:
    """A cluster and its instances as adopt sees them."""
    return servers_of(answers.cluster(answer, instances))


def group(name: str, *parameters: tuple[str, str], stack: str | None = "prod", **changed: Any) -> ParameterGroup:
    tags = {"encryptdb:stack": stack} if stack else {}
    made = tuple(Parameter(n, v, "pending-reboot") for n, v in parameters)
    return replace(ParameterGroup("parameter-group", name, tags, made), **changed)


def outputs(**changed: Any) -> Outputs:
    made = Outputs(
        contract=1,
        stack="prod",
        phase="retire",
        attempt=1,
        engine="postgres",
        region=REGION,
        account=ACCOUNT,
        source=Side("orders", "db-ORDERS", None, 5432),
        target=Side("copy", "db-COPY", f"copy.abc123.{REGION}.rds.amazonaws.com", 5432),
        kms_key_arn="arn:aws:kms:eu-central-1:123456789012:key/k",
        snapshot_arn=None,
        source_parameter_group="encryptdb-prod-source",
        target_parameter_group="encryptdb-prod-target",
    )
    return replace(made, **changed)


def found(**changed: Any) -> Found:
    """A retired stack of an instance whose target is like its source."""
    made = Found(
        outputs=outputs(),
        source=(instance(instance_answer()),),
        target=(instance(instance_answer("copy")),),
    )
    return replace(made, **changed)


def found_cluster(**changed: Any) -> Found:
    sides = {
        side: cluster(cluster_answer(name), [member_answer(f"{name}-1"), member_answer(f"{name}-2")])
        for side, name in (("source", "orders"), ("target", "copy"))
    }
    source = Side("orders", "cluster-ORDERS", None, 5432)
    target = Side("copy", "cluster-COPY", f"copy.cluster-abc123.{REGION}.rds.amazonaws.com", 5432)
    told = outputs(engine="aurora-postgresql", source=source, target=target)
    return found(outputs=told, **(sides | changed))
