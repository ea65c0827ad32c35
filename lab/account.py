"""The account of a new lab: a network, a parameter group with its owner's values, one unencrypted instance."""

import json
import secrets
from collections.abc import Sequence
from typing import Any

import boto3
import psycopg
from psycopg import sql

from lab.errors import LabError
from lab.layout import Layout
from lab.processes import wait_until

MASTER = "master"
CREATE_SECONDS = 120.0

# One dynamic and one static value, so that "the source's own user-set parameters" is something.
OWN_PARAMETERS = {"work_mem": ("8192", "immediate"), "max_locks_per_transaction": ("128", "pending-reboot")}


def furnish(
    session: boto3.session.Session,
    endpoint: str,
    family: str,
    identifier: str,
    databases: Sequence[str],
    layout: Layout,
) -> dict[str, Any]:
    """Make it all through the API, as its owner would have. Returns the document of the source."""
    port = int(json.loads(layout.settings.read_text())["port"])
    ec2 = session.client("ec2", endpoint_url=endpoint)
    rds = session.client("rds", endpoint_url=endpoint)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    rds.create_db_subnet_group(
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
    rds.create_db_parameter_group(
        DBParameterGroupName=identifier, DBParameterGroupFamily=family, Description=f"Parameters of {identifier}"
    )
    rds.modify_db_parameter_group(
        DBParameterGroupName=identifier,
        Parameters=[
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}
            for name, (value, method) in OWN_PARAMETERS.items()
        ],
    )
    password = secrets.token_urlsafe(18)
    rds.create_db_instance(
        DBInstanceIdentifier=identifier,
        DBInstanceClass="db.m6g.large",
        Engine="postgres",
        AllocatedStorage=100,
        MaxAllocatedStorage=500,
        StorageType="gp3",
        StorageEncrypted=False,
        DBName=databases[0],
        MasterUsername=MASTER,
        MasterUserPassword=password,
        DBSubnetGroupName=identifier,
        VpcSecurityGroupIds=[group["GroupId"]],
        DBParameterGroupName=identifier,
        BackupRetentionPeriod=7,
        EnableCloudwatchLogsExports=["postgresql"],
        PubliclyAccessible=False,
        CopyTagsToSnapshot=True,
        Tags=[{"Key": "service", "Value": "orders"}, {"Key": "environment", "Value": "prod"}],
    )
    instance = _available(rds, identifier)
    host = instance["Endpoint"]["Address"]
    _create_databases(host, port, password, databases, layout)
    return {
        "identifier": identifier,
        "resource_id": instance["DbiResourceId"],
        "host": host,
        "port": port,
        "user": MASTER,
        "password": password,
        "databases": list(databases),
        "secret_arn": _secret(session, endpoint, identifier, host, port, password, databases[0]),
    }


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
