"""One verdict about a source: `init`, the Pulumi program and preflight all say the same of the same server."""

import dataclasses
from typing import Any

import pytest

from encryptdb.controller.init.refusals import refuse
from encryptdb.stacks.cloud.answers import cluster, instance
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.eligibility import ineligible
from encryptdb.stacks.contract.errors import ConfigError, NotYet, Refused
from encryptdb.stacks.plan import decide
from tests.infra.worlds import seen, settings
from tests.preflight.made import cloud, findings

KEY = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"


def one(**changes: Any) -> Database:
    """An instance that can be a source, with changes in AWS's words."""
    given: dict[str, Any] = {
        "DBInstanceIdentifier": "shop",
        "DbiResourceId": "db-SOURCE",
        "DBInstanceStatus": "available",
        "Engine": "postgres",
        "EngineVersion": "15.4",
        "Endpoint": {"Address": "shop.example", "Port": 5432},
        "DBParameterGroups": [{"DBParameterGroupName": "shop"}],
    }
    return instance(given | changes)


def many(**changes: Any) -> Database:
    """The same of a cluster."""
    given: dict[str, Any] = {
        "DBClusterIdentifier": "shop",
        "DbClusterResourceId": "cluster-SOURCE",
        "Status": "available",
        "Engine": "aurora-postgresql",
        "EngineVersion": "15.4",
        "Endpoint": "shop.cluster.example",
        "DBClusterParameterGroup": "shop",
        "DBClusterMembers": [{"DBInstanceIdentifier": "shop-1", "IsClusterWriter": True}],
    }
    member = {"DBInstanceIdentifier": "shop-1", "DBInstanceStatus": "available", "DBClusterIdentifier": "shop"}
    return cluster(given | changes, [member])


CASES: dict[str, Database] = {
    "another engine": one(Engine="mysql", EngineVersion="8.0.35"),
    "a read replica": one(ReadReplicaSourceDBInstanceIdentifier="main"),
    "a read replica of a cluster": one(ReadReplicaSourceDBClusterIdentifier="main"),
    "a member": one(DBClusterIdentifier="shops", Engine="aurora-postgresql"),
    "too old": one(EngineVersion="12.22"),
    "too new": one(EngineVersion="19.1"),
    "being made": one(Endpoint=None, DBInstanceStatus="creating"),
    "its own target": one(TagList=[{"Key": "encryptdb:stack", "Value": "orders-prod"}]),
    "a Multi-AZ DB cluster": many(Engine="postgres"),
    "Aurora MySQL": many(Engine="aurora-mysql", EngineVersion="8.0.mysql_aurora.3.04.0"),
    "Global": many(GlobalClusterIdentifier="world"),
    "Serverless v1": many(EngineMode="serverless"),
    "Limitless": many(ClusterScalabilityType="limitless"),
    "a replica": many(ReplicationSourceIdentifier="arn:aws:rds:eu-west-1:1:cluster:main"),
    "a replica of RDS": many(ReplicationSourceIdentifier="arn:aws:rds:eu-west-1:1:db:main"),
    "no instance": dataclasses.replace(many(), members=()),
    "old cluster": many(EngineVersion="11.21"),
    "cluster being made": many(Status="creating"),
}


@pytest.mark.parametrize("case", CASES)
def test_all_three_refuse_the_same_server_for_the_same_reason(case: str) -> None:
    source = CASES[case]
    reason = ineligible(source, "orders-prod")
    assert reason is not None
    with pytest.raises((Refused, NotYet)) as of_init:
        refuse(source, "orders-prod")
    assert of_init.value.message == reason.message
    with pytest.raises((ConfigError, NotYet)) as of_program:
        decide(settings(source="shop"), seen(source=source))
    assert reason.message in of_program.value.message
    assert isinstance(of_init.value, NotYet) is isinstance(of_program.value, NotYet) is reason.passes
    if case != "its own target":  # which a stack of another name does not see
        found = findings("eligibility", cloud=cloud(source=source))
        assert reason.message in found[0].found
        assert (found[0].severity == "warns") is reason.passes


@pytest.mark.parametrize("source", [one(), many(), one(StorageEncryptionType="sse-rds")])
def test_all_three_accept_the_same_server(source: Database) -> None:
    assert ineligible(source, "orders-prod", KEY) is None
    refuse(source, "orders-prod")
    decide(settings(source="shop"), seen(source=source))
    assert findings("eligibility", cloud=cloud(source=source)) == ()


def test_a_server_under_the_very_key_is_not_encrypted_again() -> None:
    source = one(StorageEncrypted=True, KmsKeyId=KEY)
    assert ineligible(source, "orders-prod") is None
    reason = ineligible(source, "orders-prod", KEY)
    assert reason is not None
    assert reason.key == "kmsKey"
    assert [f.severity for f in findings("source-encryption", cloud=cloud(source=source))] == ["ok"]
