"""`lab up` on the lab: the same program, the real API, real servers. Each test has a stack of its own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from encryptdb.lab.pulumi.up import Ending, up
from encryptdb.stacks.contract.outputs import Outputs
from tests.kit import lab as kit
from tests.kit.lab import ROOT, entered
from tests.kit.waits import wait_for

SECONDS = 120.0


class Lab(kit.Lab):
    """One lab, and what a person would do on it."""

    def up(self, stack: str, **config: Any) -> Ending:
        # Several stacks copy one source here, and no two targets can have one name.
        given = {"targetIdentifier": f"{stack}-{config.get('attempt', 1)}"} if "source" in config else {}
        return up(self.directory, stack, given | {k: str(v) for k, v in config.items()})

    def process(self, stack: str) -> "subprocess.Popen[str]":
        arguments = ["-m", "lab", "up", "--dir", str(self.directory), "--stack", stack, "--json"]
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def at_rest(self, identifier: str) -> None:
        """Wait until the instance is available under this name, and nothing is to be changed any more."""

        def rests() -> bool:
            try:
                found = self.instance(identifier)
            except self.client("rds").exceptions.DBInstanceNotFoundFault:
                return False  # a rename takes a while
            return found["DBInstanceStatus"] == "available" and not found["PendingModifiedValues"]

        wait_for(rests, f"{identifier} to be available", SECONDS)

    def restore(self, stack: str, source: str = "orders-prod", **config: Any) -> Outputs:
        """Everything up to the target."""
        succeed(self.up(stack, source=source, phase="prepare", **config))
        self.prepared(stack, self.instance(source)["DbiResourceId"])
        return Outputs.from_json(succeed(self.up(stack, phase="restore")).outputs)


def succeed(ending: Ending) -> Ending:
    assert ending.status == 0, f"{ending.what} {ending.hint}"
    return ending


def nothing(ending: Ending) -> None:
    """An update that changed nothing."""
    succeed(ending)
    done = ending.changes
    assert (done.created, done.updated, done.replaced, done.deleted) == ([], [], [], [])
    assert done.same > 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with entered(tmp_path_factory.mktemp("lab") / "lab") as made:
        yield Lab(made.directory, made.document, made.env)


def test_from_nothing_to_an_encrypted_target_alone(lab: Lab) -> None:
    assert sorted(succeed(lab.up("first", source="orders-prod")).changes.created) == [
        "link-to-source",
        "source-parameters",
        "target-parameters",
    ]
    nothing(lab.up("first"))

    early = lab.up("first", phase="restore")
    assert (early.status, early.changes.created) == (3, [])
    assert "encryptdb prepare --stack first" in early.hint

    lab.prepared("first")
    made = succeed(lab.up("first"))
    assert made.changes.created == ["snapshot-1", "encrypted-snapshot-1", "target-1"]
    nothing(lab.up("first"))

    outputs = Outputs.from_json(made.outputs)
    assert outputs.target is not None
    source, target = lab.instance("orders-prod"), lab.instance(outputs.target.identifier)
    assert outputs.target.host == target["Endpoint"]["Address"]
    assert (target["StorageEncrypted"], target["KmsKeyId"]) == (True, outputs.kms_key_arn)
    assert target["DeletionProtection"] is True
    for copied in ("DBInstanceClass", "MultiAZ", "PubliclyAccessible", "EnabledCloudwatchLogsExports"):
        assert target[copied] == source[copied], copied
    groups = [sorted(g["VpcSecurityGroupId"] for g in i["VpcSecurityGroups"]) for i in (source, target)]
    assert groups[0] == groups[1]
    assert json.loads((lab.directory / "outputs" / "first.json").read_text()) == made.outputs
    kept = [p for d in ("state", "outputs", "config") for p in (lab.directory / d).glob("first.*")]
    assert len(kept) >= 3
    assert not [p for p in kept if lab.source["password"] in p.read_text()]

    back = lab.up("first", phase="prepare")
    assert (back.status, back.changes.deleted) == (2, [])
    assert back.what.startswith("encryptdb:phase: ")

    assert lab.up("first", phase="retire").status == 3
    lab.not_prepared("first")
    assert sorted(succeed(lab.up("first")).changes.deleted) == ["encrypted-snapshot-1", "link-to-source", "snapshot-1"]
    nothing(lab.up("first"))
    assert lab.instance(outputs.target.identifier)["DeletionProtection"] is True

    back = lab.up("first", phase="restore")
    assert (back.status, back.changes.created) == (2, [])
    assert back.what.startswith("encryptdb:phase: ")


@pytest.mark.full
def test_a_link_that_another_stack_replicates_over_outlives_the_stack_that_made_it(lab: Lab) -> None:
    lab.restore("maker", targetIdentifier="maker-1")
    made = succeed(lab.up("user", source="orders-prod", phase="prepare", targetIdentifier="user-1")).changes.created
    assert "link-to-source" not in made
    lab.prepared("user")
    succeed(lab.up("user", phase="restore"))

    lab.not_prepared("maker")
    assert sorted(succeed(lab.up("maker", phase="retire")).changes.deleted) == ["encrypted-snapshot-1", "snapshot-1"]
    nothing(lab.up("maker"))
    nothing(lab.up("user"))

    lab.not_prepared("user")
    succeed(lab.up("user", phase="retire"))
    assert succeed(lab.up("maker")).changes.deleted == ["link-to-source"]
    nothing(lab.up("maker"))


@pytest.mark.full
def test_an_encrypted_source_gets_another_key_and_then_resized_renamed_and_deleted_changes_nothing(lab: Lab) -> None:
    rds, kms = boto3.client("rds"), boto3.client("kms")
    old, new = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    rds.create_db_instance(
        DBInstanceIdentifier="short-lived",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="master",
        MasterUserPassword="not-so-secret",
        StorageEncrypted=True,
        KmsKeyId=old,
    )
    lab.at_rest("short-lived")
    same = lab.up("fleeting", source="short-lived", kmsKey=old)
    assert (same.status, same.changes.created) == (2, [])
    assert same.what.startswith("encryptdb:kmsKey: ")

    before = lab.restore("fleeting", source="short-lived", kmsKey=new)
    assert before.target
    assert before.kms_key_arn == new
    assert lab.instance(before.target.identifier)["KmsKeyId"] == new

    rds.modify_db_instance(
        DBInstanceIdentifier="short-lived", DBInstanceClass="db.t4g.large", MultiAZ=True, ApplyImmediately=True
    )
    lab.at_rest("short-lived")
    nothing(lab.up("fleeting"))

    rds.modify_db_instance(DBInstanceIdentifier="short-lived", NewDBInstanceIdentifier="renamed", ApplyImmediately=True)
    lab.at_rest("renamed")
    renamed = lab.up("fleeting")
    nothing(renamed)
    assert Outputs.from_json(renamed.outputs).source.identifier == "renamed"

    rds.delete_db_instance(DBInstanceIdentifier="renamed", SkipFinalSnapshot=True)
    gone = lab.up("fleeting")
    nothing(gone)
    after = Outputs.from_json(gone.outputs)
    assert (after.source.host, after.source.resource_id) == (None, before.source.resource_id)
    assert after.target == before.target


@pytest.mark.full
def test_a_second_attempt_meets_nothing_of_the_first(lab: Lab) -> None:
    first = lab.restore("again")
    begun = succeed(lab.up("again", attempt=2, phase="prepare", targetIdentifier="again-2"))
    assert sorted(begun.changes.deleted) == ["encrypted-snapshot-1", "snapshot-1"]
    stale = lab.up("again", phase="restore")
    assert stale.status == 3
    assert "attempt 1" in stale.what

    lab.prepared("again", attempt=2)
    made = succeed(lab.up("again"))
    assert made.changes.created == ["snapshot-2", "encrypted-snapshot-2", "target-2"]
    nothing(lab.up("again"))
    second = Outputs.from_json(made.outputs)
    assert first.target
    assert second.target
    assert first.target.identifier != second.target.identifier
    assert lab.instance(first.target.identifier)["DeletionProtection"] is True

    rds = boto3.client("rds")
    rds.modify_db_instance(
        DBInstanceIdentifier=first.target.identifier, DeletionProtection=False, ApplyImmediately=True
    )
    lab.at_rest(first.target.identifier)
    rds.delete_db_instance(DBInstanceIdentifier=first.target.identifier, SkipFinalSnapshot=True)
    with pytest.raises(lab.client("rds").exceptions.DBInstanceNotFoundFault):
        while True:
            lab.instance(first.target.identifier)
            time.sleep(0.1)
    succeed(lab.up("again"))
    nothing(lab.up("again"))


def test_an_alias_an_id_and_an_arn_mean_the_same_key(lab: Lab) -> None:
    kms = boto3.client("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/orders-data", TargetKeyId=key["KeyId"])
    for name in ("alias/orders-data", key["KeyId"], key["Arn"]):
        ending = succeed(lab.up("keys", source="orders-prod", kmsKey=name))
        assert ending.outputs is not None
        assert ending.outputs["kmsKeyArn"] == key["Arn"]


def test_a_key_that_cannot_serve_is_refused_by_name(lab: Lab) -> None:
    kms = boto3.client("kms")
    disabled = kms.create_key()["KeyMetadata"]
    kms.disable_key(KeyId=disabled["KeyId"])
    elsewhere = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    for key in ("alias/no-such-alias", elsewhere, disabled["Arn"], "arn:aws:s3:::bucket"):
        ending = lab.up("wrong-key", source="orders-prod", kmsKey=key)
        assert (ending.status, ending.changes.created) == (2, []), key
        assert ending.what.startswith("encryptdb:kmsKey: ")
        assert key in ending.what


def test_a_source_that_is_not_there_is_refused_by_name(lab: Lab) -> None:
    ending = lab.up("missing", source="no-such-instance")
    assert ending.status == 2
    assert ending.what.startswith("encryptdb:source: ")
    assert "no-such-instance" in ending.what


def test_a_key_of_the_configuration_that_does_not_exist_is_refused(lab: Lab) -> None:
    ending = lab.up("typo", source="orders-prod", kmskey="alias/aws/rds")
    assert ending.status == 2
    assert "encryptdb:kmsKey" in ending.what


def test_cut_off_in_the_middle_it_goes_on_and_nothing_is_made_twice(lab: Lab) -> None:
    succeed(lab.up("cut-off", source="orders-prod"))
    lab.prepared("cut-off")
    config = lab.directory / "config" / "cut-off.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"encryptdb:phase": "restore"}))

    assert interrupt(lab.process("cut-off"), "creating snapshot-1", signal.SIGINT) == 130
    assert interrupt(lab.process("cut-off"), "creating target-1", signal.SIGKILL) == -signal.SIGKILL

    ending = succeed(lab.up("cut-off"))
    assert ending.changes.created == ["target-1"]
    nothing(lab.up("cut-off"))
    found = boto3.client("rds").describe_db_instances()["DBInstances"]
    tagged = [i for i in found if {"Key": "encryptdb:stack", "Value": "cut-off"} in i["TagList"]]
    assert len(tagged) == 1


def interrupt(process: "subprocess.Popen[str]", at: str, with_: signal.Signals) -> int:
    """Send a signal once the process says that; its exit status."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if at in line:
            # The note that it begins is written before the line; AWS is asked right after it.
            time.sleep(0.3)
            process.send_signal(with_)
            break
    else:
        raise AssertionError(f"it never said {at!r}: {told}")
    process.communicate(timeout=SECONDS)
    return process.returncode


def test_without_a_lab_it_says_what_to_start(tmp_path: Path) -> None:
    ending = up(tmp_path, "any", {})
    assert ending.status == 3
    assert f"python -m lab start --dir {tmp_path}" in ending.hint
