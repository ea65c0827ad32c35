"""The verbs of these tests: what names a database, and `init`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from encryptdb.controller.cli import main
from tests.kit.lab import Lab


@dataclass
class Result:
    """How `python -m controller init` ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def init(lab: Lab, capsys: pytest.CaptureFixture[str], *arguments: str) -> Result:
    """Run the command as `. DIR/env` lets it find the lab."""
    os.environ.update({k: v for k, v in lab.env.items() if k.startswith(("AWS_", "LAB_"))})
    capsys.readouterr()
    try:
        status = main(["init", *arguments])
    except SystemExit as ended:
        status = int(ended.code or 0)
    shown = capsys.readouterr()
    return Result(status, shown.out, shown.err)


def written(project: Path, stack: str = "orders-prod") -> dict[str, Any]:
    """What the stack's file says."""
    return dict(yaml.safe_load((project / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"])


def record(lab: Lab, zone: str, name: str, value: str, ttl: int = 300, kind: str = "A", **more: Any) -> str:
    """A record in a hosted zone of its own; the zone's id."""
    route53 = lab.client("route53")
    made: str = route53.create_hosted_zone(Name=zone, CallerReference=f"{zone}-{name}")["HostedZone"]["Id"]
    records = {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value}]} | more
    change = {"Action": "UPSERT", "ResourceRecordSet": records}
    route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": [change]})
    return made.rpartition("/")[2]


def proxy(lab: Lab, name: str, **behind: Any) -> None:
    """An RDS Proxy before an instance (DBInstanceIdentifiers) or a cluster (DBClusterIdentifiers)."""
    rds = lab.client("rds")
    subnets = rds.describe_db_subnet_groups()["DBSubnetGroups"][0]["Subnets"]
    rds.create_db_proxy(
        DBProxyName=name,
        EngineFamily="POSTGRESQL",
        Auth=[{"AuthScheme": "SECRETS", "SecretArn": lab.source["secret_arn"]}],
        RoleArn="arn:aws:iam::123456789012:role/proxy",
        VpcSubnetIds=[s["SubnetIdentifier"] for s in subnets],
    )
    rds.register_db_proxy_targets(DBProxyName=name, **behind)


def secret(lab: Lab, name: str, value: Any, description: str = "") -> str:
    """A secret; its ARN."""
    text = value if isinstance(value, str) else json.dumps(value)
    made: str = lab.client("secretsmanager").create_secret(Name=name, Description=description, SecretString=text)["ARN"]
    return made


def only(documents: list[dict[str, Any]], kind: str, **has: Any) -> list[dict[str, Any]]:
    """The switches of a kind that say this."""
    return [d for d in documents if d["kind"] == kind and all(d.get(k) == v for k, v in has.items())]
