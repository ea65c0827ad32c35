"""The account of a new lab: a network, a parameter group with its owner's values, one unencrypted database server."""

import json
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

import boto3
import psycopg
from psycopg import sql

from encryptdb.lab.errors import LabError
from encryptdb.lab.layout import Layout
from encryptdb.lab.processes import wait_until

MASTER = "master"
CREATE_SECONDS = 120.0
TAGS = [{"Key": "service", "Value": "orders"}, {"Key": "environment", "Value": "prod"}]

# One dynamic and one static value, so that "the source's own user-set parameters" is something.
OWN_PARAMETERS = {"work_mem": ("8192", "immediate"), "max_locks_per_transaction": ("128", "pending-reboot")}


def furnish(
    session: boto3.session.Session,
    endpoint: str,
    engine: str,
    family: str,
    identifier: str,
    databases: Sequence[str],
    layout: Layout,
) -> dict[str, Any]:
    """Make it all through the API, as its owner would have: an instance (`engine` rds) or a cluster of a writer and a
    reader (aurora). Returns the document of the source."""
    port = int(json.loads(layout.settings.read_text())["port"])
    rds = session.client("rds", endpoint_url=endpoint)
    common = {
        "StorageEncrypted": False,
        "MasterUsername": MASTER,
        "MasterUserPassword": secrets.token_urlsafe(18),
        "DBSubnetGroupName": identifier,
        "VpcSecurityGroupIds": [_network(session, endpoint, identifier, port)],
        "BackupRetentionPeriod": 7,
        "EnableCloudwatchLogsExports": ["postgresql"],
        "CopyTagsToSnapshot": True,
        "Tags": TAGS,
    }
    make = _cluster if engine == "aurora" else _instance
    source = make(rds, family, identifier, databases[0], common)
    host, password = source["host"], str(common["MasterUserPassword"])
    _create_databases(host, port, password, databases, layout)
    return {
        "identifier": identifier,
        **source,
        "port": port,
        "user": MASTER,
        "password": password,
        "databases": list(databases),
        "secret_arn": _secret(session, endpoint, identifier, host, port, password, databases[0]),
    }


def _network(session: boto3.session.Session, endpoint: str, identifier: str, port: int) -> str:
    """A subnet group and a security group; the latter's id."""
    ec2 = session.client("ec2", endpoint_url=endpoint)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    session.client("rds", endpoint_url=endpoint).create_db_subnet_group(
        DBSubnetGroupName=identifier,
        DBSubnetGroupDescription=f"Subnets of {identifier}",
        SubnetIds=[s["SubnetId"] for s in subnets],
    )
    group = ec2.create_security_group(GroupName=identifier, Description=f"Clients of {identifier}", VpcId=vpc["VpcId"])
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": port,
                "ToPort": port,
                "IpRanges": [{"CidrIp": vpc["CidrBlock"], "Description": "applications"}],
            }
        ],
    )
    return str(group["GroupId"])


def _instance(rds: Any, family: str, identifier: str, database: str, common: dict[str, Any]) -> dict[str, Any]:
    rds.create_db_parameter_group(
        DBParameterGroupName=identifier, DBParameterGroupFamily=family, Description=f"Parameters of {identifier}"
    )
    rds.modify_db_parameter_group(DBParameterGroupName=identifier, Parameters=_own_parameters())
    rds.create_db_instance(
        DBInstanceIdentifier=identifier,
        DBInstanceClass="db.m6g.large",
        Engine="postgres",
        AllocatedStorage=100,
        MaxAllocatedStorage=500,
        StorageType="gp3",
        DBName=database,
        DBParameterGroupName=identifier,
        PubliclyAccessible=False,
        **common,
    )
    instance = _available(rds, identifier)
    return {"resource_id": instance["DbiResourceId"], "host": instance["Endpoint"]["Address"]}


def _cluster(rds: Any, family: str, identifier: str, database: str, common: dict[str, Any]) -> dict[str, Any]:
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=identifier, DBParameterGroupFamily=family, Description=f"Parameters of {identifier}"
    )
    rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName=identifier, Parameters=_own_parameters())
    rds.create_db_cluster(
        DBClusterIdentifier=identifier,
        Engine="aurora-postgresql",
        DatabaseName=database,
        DBClusterParameterGroupName=identifier,
        **common,
    )
    wait_until(lambda: _cluster_of(rds, identifier)["Status"] == "available", "the cluster", CREATE_SECONDS, every=0.05)
    members = [f"{identifier}-{number}" for number in (1, 2)]
    for member in members:
        joined = partial(_joins, rds, identifier, member)
        wait_until(joined, f"the cluster to take {member}", CREATE_SECONDS, every=0.05)
    for member in members:
        _available(rds, member)
    cluster = _cluster_of(rds, identifier)
    return {
        "resource_id": cluster["DbClusterResourceId"],
        "host": cluster["Endpoint"],
        "reader_host": cluster["ReaderEndpoint"],
        "members": members,
    }


def _joins(rds: Any, cluster: str, member: str) -> bool:
    """Make a member. False while the cluster is backed up, which begins with the first member and is soon over."""
    try:
        rds.create_db_instance(
            DBInstanceIdentifier=member,
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
            DBClusterIdentifier=cluster,
            PubliclyAccessible=False,
            Tags=TAGS,
        )
    except rds.exceptions.InvalidDBClusterStateFault:
        return False
    return True


def _own_parameters() -> list[dict[str, str]]:
    return [
        {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}
        for name, (value, method) in OWN_PARAMETERS.items()
    ]


def _cluster_of(rds: Any, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] = rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
    if found["Status"] == "failed":
        raise LabError(f"the cluster {identifier} could not be created", "its state is `failed`")
    return found


def _available(rds: Any, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0])
        if found["DBInstanceStatus"] == "failed":
            raise LabError(f"the instance {identifier} could not be created", "its state is `failed`")
        return bool(found["DBInstanceStatus"] == "available")

    wait_until(there, f"the instance {identifier} to be available", CREATE_SECONDS, every=0.05)
    return found


def _create_databases(host: str, port: int, password: str, databases: Sequence[str], layout: Layout) -> None:
    if len(databases) < 2:
        return
    tls = json.loads(layout.server.read_text())["tls"]
    mode: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": str(layout.ca)} if tls else {"sslmode": "disable"}
    with psycopg.connect(
        host=host, port=port, user=MASTER, password=password, dbname=databases[0], autocommit=True, **mode
    ) as connection:
        for name in databases[1:]:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _secret(
    session: boto3.session.Session, endpoint: str, identifier: str, host: str, port: int, password: str, database: str
) -> str:
    """The login in Secrets Manager, in the form that RDS's own secrets have."""
    document = {
        "engine": "postgres",
        "host": host,
        "port": port,
        "username": MASTER,
        "password": password,
        "dbname": database,
    }
    client = session.client("secretsmanager", endpoint_url=endpoint)
    return str(client.create_secret(Name=f"{identifier}/master", SecretString=json.dumps(document))["ARN"])
