"""What is declared, as policies: whoever owns the database would ask for each of them."""

import dataclasses
from typing import Any

import pytest

from encryptdb.stacks.cloud.reads import IngressRule, Parameter
from encryptdb.stacks.contract.names import LINK, STACK
from encryptdb.stacks.contract.outputs import Outputs
from encryptdb.stacks.settings import Overrides
from tests.infra.worlds import KEY, SOURCE_INSTANCE, Declare, Kind, seen, snapshot_of

FORCE_REPLACEMENT = {"dbName", "username", "engine", "availabilityZone", "kmsKeyId", "characterSetName"}
MODIFY_AFTER_RESTORE = {
    "password",
    "backupRetentionPeriod",
    "backupWindow",
    "caCertIdentifier",
    "engineVersion",
    "iops",
    "maintenanceWindow",
    "maxAllocatedStorage",
    "monitoringInterval",
    "performanceInsightsEnabled",
    "storageThroughput",
    "storageType",
    "allocatedStorage",
}


def test_prepare_declares_nothing_that_holds_data(declare: Declare, kind: Kind) -> None:
    assert declare(kind.seen()).names() == {"source-parameters", "target-parameters", "link-to-source"}


def test_restore_adds_snapshots_and_target(declare: Declare, kind: Kind) -> None:
    added = declare(kind.seen(), phase="restore").names() - declare(kind.seen()).names()
    assert added == kind.made


def test_retire_keeps_the_target_and_drops_snapshots_and_link(declare: Declare, kind: Kind) -> None:
    left = declare(kind.gone(), phase="retire").names()
    assert left - {"source-parameters", "target-parameters"} == {n for n in kind.made if n.startswith("target-")}


def test_the_copy_is_encrypted_under_the_full_arn_of_the_key(declare: Declare) -> None:
    copy = declare(seen(), phase="restore").inputs("encrypted-snapshot-1")
    assert copy["kmsKeyId"] == KEY
    assert copy["sourceDbSnapshotIdentifier"].startswith("arn:")


def test_the_target_is_encrypted_and_restored_from_the_encrypted_copy(declare: Declare) -> None:
    target = declare(seen(), phase="restore").inputs("target-1")
    assert target["storageEncrypted"] is True
    assert target["snapshotIdentifier"] == "encryptdb-orders-prod-1-encrypted"


@pytest.mark.parametrize("public", [True, False])
def test_the_target_is_as_public_as_the_source(declare: Declare, public: bool) -> None:
    source = dataclasses.replace(SOURCE_INSTANCE, publicly_accessible=public)
    assert declare(seen(source=source), phase="restore").inputs("target-1")["publiclyAccessible"] is public


def test_a_public_source_may_get_a_private_copy(declare: Declare) -> None:
    source = dataclasses.replace(SOURCE_INSTANCE, publicly_accessible=True)
    chosen = Overrides(publicly_accessible=False)
    target = declare(seen(source=source), phase="restore", overrides=chosen).inputs("target-1")
    assert target["publiclyAccessible"] is False


@pytest.mark.parametrize("phase", ["restore", "retire"])
def test_the_target_is_protected_in_aws_and_in_the_stack(declare: Declare, kind: Kind, phase: str) -> None:
    declared = declare(kind.seen() if phase == "restore" else kind.gone(), phase=phase)
    assert declared.inputs("target-1")["deletionProtection"] is True
    assert declared.inputs("target-1").get("skipFinalSnapshot") is False
    assert declared.inputs("target-1")["finalSnapshotIdentifier"] == "encryptdb-orders-prod-1-final"
    assert all(declared.goals[n].protect for n in kind.made if n.startswith("target-"))


def test_the_target_has_what_the_source_has(declare: Declare) -> None:
    target = declare(seen(), phase="restore").inputs("target-1")
    assert target["vpcSecurityGroupIds"] == ["sg-1", "sg-2"]
    assert target["enabledCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    assert (target["instanceClass"], target["dbSubnetGroupName"]) == ("db.m6g.large", "private")
    assert (target["multiAz"], target["port"], target["iamDatabaseAuthenticationEnabled"]) == (True, 5433, True)
    assert target["tags"]["team"] == "orders"
    assert not any(key.startswith("aws:") for key in target["tags"])


def test_what_would_replace_the_target_or_restart_it_after_the_restore_is_left_out(declare: Declare) -> None:
    given = set(declare(seen(), phase="restore").inputs("target-1"))
    assert not given & (FORCE_REPLACEMENT | MODIFY_AFTER_RESTORE)


def test_large_databases_get_twelve_hours(declare: Declare, kind: Kind) -> None:
    declared = declare(kind.seen(), phase="restore")
    assert {declared.goals[name].timeouts["create"] for name in kind.made} == {"12h"}


def test_explicit_config_wins_over_what_is_copied_and_goes_on_deciding(declare: Declare) -> None:
    chosen = Overrides(
        target_identifier="orders-new",
        instance_class="db.r7g.large",
        subnet_group="other",
        security_groups=("sg-9",),
        multi_az=False,
        log_exports=("postgresql",),
    )
    declared = declare(seen(), phase="restore", overrides=chosen)
    target, ignored = declared.inputs("target-1"), declared.goals["target-1"].ignore_changes
    wanted: dict[str, Any] = {
        "identifier": "orders-new",
        "instanceClass": "db.r7g.large",
        "dbSubnetGroupName": "other",
        "vpcSecurityGroupIds": ["sg-9"],
        "multiAz": False,
        "enabledCloudwatchLogsExports": ["postgresql"],
    }
    assert {k: target[k] for k in wanted} == wanted
    assert not set(wanted) & set(ignored)
    assert {"snapshotIdentifier", "port", "publiclyAccessible", "tags"} <= set(ignored)


def test_earlier_targets_stay_declared_as_they_are_until_their_owner_deletes_them(declare: Declare, kind: Kind) -> None:
    declared = declare(kind.seen(targets={1: kind.target_of(1)}), attempt=2)
    for name in (n for n in kind.made if n.startswith("target-")):
        assert declared.goals[name].protect
        assert declared.goals[name].ignore_changes == ("*",)
        assert name not in declare(kind.seen(), attempt=2).names()
    assert "snapshot-1" not in declared.names()


def test_one_shared_security_group_lets_its_members_reach_each_other(declare: Declare, kind: Kind) -> None:
    rule = declare(kind.seen()).inputs("link-to-source")
    assert (rule["securityGroupId"], rule["referencedSecurityGroupId"]) == ("sg-1", "sg-1")
    assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (5433, 5433, "tcp")


def test_two_security_groups_let_each_other_in(declare: Declare, kind: Kind) -> None:
    declared = declare(kind.seen(), overrides=Overrides(security_groups=("sg-9",)))
    pairs = {
        (declared.inputs(n)["securityGroupId"], declared.inputs(n)["referencedSecurityGroupId"])
        for n in ("link-to-source", "link-to-target")
    }
    assert pairs == {("sg-1", "sg-9"), ("sg-9", "sg-1")}


def test_a_rule_that_the_owner_made_is_not_made_again(declare: Declare, kind: Kind) -> None:
    theirs = IngressRule("sgr-1", "sg-1", "sg-1", 5433, 5433, {})
    assert "link-to-source" not in declare(kind.seen(rules=(theirs,))).names()
    ours = dataclasses.replace(theirs, tags={STACK: "orders-prod", LINK: "link-to-source"})
    assert "link-to-source" in declare(kind.seen(rules=(ours,))).names()


def test_the_link_stays_when_the_source_is_gone(declare: Declare, kind: Kind) -> None:
    ours = IngressRule("sgr-1", "sg-1", "sg-1", 5433, 5433, {STACK: "orders-prod", LINK: "link-to-source"})
    declared = declare(kind.restored(source=None, rules=(ours,)), phase="restore")
    assert declared.goals["link-to-source"].ignore_changes == ("*",)


def test_retire_leaves_the_link_as_it_is_while_another_stack_replicates_over_it(declare: Declare, kind: Kind) -> None:
    ours = IngressRule("sgr-1", "sg-1", "sg-1", 5433, 5433, {STACK: "orders-prod", LINK: "link-to-source"})
    alone = dataclasses.replace(kind.gone(), rules=(ours,))
    needed = declare(dataclasses.replace(alone, link_users=("billing",)), phase="retire")
    assert needed.goals["link-to-source"].ignore_changes == ("*",)
    assert "link-to-source" not in declare(alone, phase="retire").names()


def test_a_target_that_is_still_being_made_changes_nothing(declare: Declare, kind: Kind) -> None:
    unknown: dict[str, Any] = {"members": ()} if kind.of_cluster else {"host": None}
    half_made = kind.target_of(1, status="creating", port=5432, security_groups=(), log_exports=(), **unknown)
    before = declare(kind.seen(snapshot=snapshot_of(1)), phase="restore")
    after = declare(kind.restored(targets={1: half_made}, identifiers=frozenset()), phase="restore")
    assert after.names() == before.names()
    for name in ("link-to-source", *(n for n in kind.made if n.startswith("target-"))):
        assert after.inputs(name) == before.inputs(name)


def test_existing_groups_and_links_are_left_to_their_owner(declare: Declare, kind: Kind) -> None:
    theirs = (Parameter("track_commit_timestamp", "1", static=True, user=True),)
    world = kind.seen(source_parameters=theirs)
    declared = declare(world, phase="restore", parameter_group="existing", link="existing")
    assert declared.names() == kind.made
    group = "dbClusterParameterGroupName" if kind.of_cluster else "parameterGroupName"
    assert declared.inputs("target-1")[group] == "orders-prod"
    assert Outputs.from_json(declared.outputs).source_parameter_group is None


def test_the_outputs_are_the_contract(declare: Declare) -> None:
    before = Outputs.from_json(declare(seen()).outputs)
    assert (before.phase, before.target, before.snapshot_arn) == ("prepare", None, None)
    assert (before.source.resource_id, before.source.port) == ("db-SOURCE", 5433)
    after = Outputs.from_json(declare(seen(), phase="restore").outputs)
    assert after.target is not None
    assert after.target.identifier == "orders-prod-encrypted-1"
    assert after.target.host
    assert after.kms_key_arn == KEY
    assert after.snapshot_arn == "arn:encryptdb-orders-prod-1"
    assert after.source_parameter_group == "encryptdb-orders-prod-source"


def test_the_outputs_name_the_source_also_when_it_is_not_read_any_more(declare: Declare, kind: Kind) -> None:
    after = Outputs.from_json(declare(kind.gone(), phase="retire").outputs)
    assert (after.source.identifier, after.source.resource_id) == ("orders-prod", kind.source.resource_id)
    assert after.source.host is None
    assert after.kms_key_arn == KEY


def test_an_encrypted_source_moves_to_another_key_the_same_way(declare: Declare) -> None:
    source = dataclasses.replace(SOURCE_INSTANCE, encrypted=True, kms_key_arn="arn:aws:kms:eu-central-1:1:key/old")
    copy = declare(seen(source=source), phase="restore").inputs("encrypted-snapshot-1")
    assert copy["kmsKeyId"] == KEY


def test_no_input_is_a_secret_or_takes_one(declare: Declare, kind: Kind) -> None:
    declared = declare(kind.seen(), phase="restore")
    assert not [k for g in declared.goals.values() for k in g.inputs if "password" in k.lower()]


def test_restore_goes_on_without_the_mark_once_the_snapshot_is_there(declare: Declare, kind: Kind) -> None:
    assert "target-1" in declare(kind.seen(prepared_parameter=None, snapshot=snapshot_of(1)), phase="restore").names()
