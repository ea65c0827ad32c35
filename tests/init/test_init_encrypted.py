"""A source that is encrypted already, held by code, and whose password RDS manages: what its owner has to decide."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.lab.pulumi.up import Ending, up
from tests.init.made import altered
from tests.init.world import init, secret, written
from tests.kit.lab import Lab
from tests.kit.secret_search import Search

NAME = "ledger-eu"


@pytest.fixture(scope="module")
def lab(rds: Lab) -> Iterator[Lab]:
    """With a second instance: encrypted under AWS's key for RDS, in a parameter group that CloudFormation holds."""
    client, kms = rds.client("rds"), rds.client("kms")
    of_aws = kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
    own = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/ledger-data", TargetKeyId=own)
    client.create_db_parameter_group(
        DBParameterGroupName=NAME,
        DBParameterGroupFamily=client.describe_db_parameter_groups()["DBParameterGroups"][0]["DBParameterGroupFamily"],
        Description="the owner's",
        Tags=[{"Key": "aws:cloudformation:stack-name", "Value": "ledger-database"}],
    )
    source = rds.instance("orders-prod")
    client.create_db_instance(
        DBInstanceIdentifier=NAME,
        DBInstanceClass="db.m6g.large",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="master",
        MasterUserPassword="not of interest",
        DBParameterGroupName=NAME,
        DBSubnetGroupName=source["DBSubnetGroup"]["DBSubnetGroupName"],
        VpcSecurityGroupIds=[g["VpcSecurityGroupId"] for g in source["VpcSecurityGroups"]],
        StorageEncrypted=True,
        KmsKeyId=of_aws,
        EnableIAMDatabaseAuthentication=True,
    )
    rds.settled(NAME)
    yield rds


def up_of(lab: Lab, file: Path, words: str) -> Ending:
    file.write_text(words)
    return up(lab.directory, NAME, {})


def test_the_key_has_to_be_named_and_then_the_next_up_takes_it(
    lab: Lab, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = init(lab, capsys, NAME, "--json")
    assert ended.status == 0
    assert ended.document["source"]["encrypted"]
    file = project / "stacks" / f"Pulumi.{NAME}.yaml"
    words = file.read_text()
    assert "encryptdb:kmsKey" not in written(project, NAME)
    assert any(note.startswith(f"{NAME} is encrypted already") for note in ended.document["notes"])
    assert "The default is alias/aws/rds again, which is refused." in ended.document["notes"]

    # As the file says: refused without the key.
    without = up_of(lab, file, words)
    assert (without.status, "is encrypted under" in without.what) == (2, True)
    chosen = re.sub(r"# (encryptdb:kmsKey: alias/ledger-data)", r"\1", words)
    assert chosen != words
    assert up_of(lab, file, chosen).status == 0


def test_whose_code_holds_the_parameter_group_is_told(
    lab: Lab, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = init(lab, capsys, NAME, "--json")
    text = " ".join((project / "stacks" / f"Pulumi.{NAME}.yaml").read_text().replace("\n  #", " ").split())
    assert "CloudFormation (stack ledger-database) manages it or the database" in text
    assert any("CloudFormation (stack ledger-database)" in note for note in ended.document["notes"])
    assert "IAM database authentication is enabled" in text


def test_a_password_that_rds_manages_is_the_controllers_login(
    lab: Lab, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "made by RDS, and rotated"
    arn = secret(lab, "rds!db-0001", {"username": "master", "password": password}, f"of the primary instance {NAME}")
    managed = {"SecretArn": arn, "SecretStatus": "active"}
    monkeypatch.setattr(
        "encryptdb.controller.commands.init.Aws",
        altered("rds.DescribeDBInstances", "DBInstances", MasterUserSecret=managed),
    )
    ended = init(lab, capsys, NAME, "--json")
    assert ended.status == 0
    assert written(project, NAME)["encryptdb:sourceSecret"] == arn
    assert ended.document["switches"] == []
    assert any("RDS manages the master's password" in note for note in ended.document["notes"])
    search = Search({"the master's": password})
    assert search.text(ended.out + ended.err, "output") + search.paths([project]) == []
