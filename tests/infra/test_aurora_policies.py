"""What is declared for a cluster, as policies: whoever owns it would ask for each of them."""

import dataclasses
from typing import Any

import pytest

from encryptdb.stacks.cloud.database import Capacity, Cluster
from encryptdb.stacks.contract.names import ATTEMPT, MEMBER, MEMBERS, SOURCE_RESOURCE_ID, STACK
from encryptdb.stacks.contract.outputs import Outputs
from encryptdb.stacks.settings import Overrides
from tests.infra.worlds import AURORA, KEY, OTHER_KEY, SOURCE_CLUSTER, Declare, member_of, target_cluster_of

FORCE_REPLACEMENT = {
    "availabilityZones",
    "clusterIdentifier",
    "clusterScalabilityType",
    "databaseName",
    "dbSubnetGroupName",
    "engine",
    "engineMode",
    "kmsKeyId",
    "masterUsername",
    "restoreToPointInTime",
    "snapshotIdentifier",
    "sourceRegion",
    "storageEncrypted",
}
"""ForceNew in the Terraform provider's aws_rds_cluster."""
MEMBER_FORCE_REPLACEMENT = {"availabilityZone", "clusterIdentifier", "dbSubnetGroupName", "engine", "identifier"}
"""ForceNew in aws_rds_cluster_instance."""
SAME_FOR_EVER = {"engine", "storageEncrypted"}
MODIFY_AFTER_RESTORE = {
    "backupRetentionPeriod",
    "manageMasterUserPassword",
    "masterPassword",
    "masterUserSecretKmsKeyId",
    "preferredBackupWindow",
    "preferredMaintenanceWindow",
}


def source(**changes: Any) -> Cluster:
    return dataclasses.replace(SOURCE_CLUSTER, **changes)


def test_the_parameter_groups_are_those_of_clusters(declare: Declare) -> None:
    declared = declare(AURORA.seen(), phase="restore")
    for name in ("source-parameters", "target-parameters"):
        assert declared.goals[name].type == "aws:rds/clusterParameterGroup:ClusterParameterGroup"
        assert declared.inputs(name)["family"] == "aurora-postgresql15"
        chosen = {p["name"]: (p["value"], p["applyMethod"]) for p in declared.inputs(name)["parameters"]}
        assert chosen["rds.logical_replication"] == ("1", "pending-reboot")
    assert declared.inputs("target-1")["dbClusterParameterGroupName"] == "encryptdb-orders-prod-target"


def test_the_cluster_is_restored_encrypted_from_the_clusters_own_snapshot(declare: Declare) -> None:
    declared = declare(AURORA.seen(), phase="restore")
    assert declared.inputs("snapshot-1")["dbClusterIdentifier"] == "orders-prod"
    target = declared.inputs("target-1")
    assert (target["snapshotIdentifier"], target["kmsKeyId"]) == ("encryptdb-orders-prod-1", KEY)
    assert target["storageEncrypted"] is True


def test_no_cluster_snapshot_is_ever_copied(declare: Declare) -> None:
    types = {g.type for g in declare(AURORA.seen(), phase="restore").goals.values()}
    assert not [t for t in types if "Copy" in t]


def test_the_target_has_what_the_source_has(declare: Declare) -> None:
    target = declare(AURORA.seen(), phase="restore").inputs("target-1")
    assert (target["engine"], target["engineVersion"]) == ("aurora-postgresql", "15.4")
    assert target["vpcSecurityGroupIds"] == ["sg-1", "sg-2"]
    assert target["enabledCloudwatchLogsExports"] == ["postgresql"]
    assert (target["dbSubnetGroupName"], target["port"]) == ("private", 5433)
    assert (target["iamDatabaseAuthenticationEnabled"], target["copyTagsToSnapshot"]) == (True, True)
    assert "serverlessv2ScalingConfiguration" not in target
    assert target["tags"]["team"] == "orders"
    assert not any(key.startswith("aws:") for key in target["tags"])


def test_the_capacity_of_serverless_v2_is_copied(declare: Declare) -> None:
    world = AURORA.seen(source=source(capacity=Capacity(0, 8, 600)))
    target = declare(world, phase="restore").inputs("target-1")
    assert target["serverlessv2ScalingConfiguration"] == {
        "minCapacity": 0,
        "maxCapacity": 8,
        "secondsUntilAutoPause": 600,
    }


def test_there_is_an_instance_for_each_of_the_sources_the_writer_first(declare: Declare) -> None:
    declared = declare(AURORA.seen(), phase="restore")
    writer, reader = declared.inputs("target-1-1"), declared.inputs("target-1-2")
    assert (writer["identifier"], reader["identifier"]) == ("orders-prod-encrypted-1-1", "orders-prod-encrypted-1-2")
    assert (writer["instanceClass"], reader["instanceClass"]) == ("db.r6g.large", "db.r6g.medium")
    assert (writer["dbParameterGroupName"], reader["dbParameterGroupName"]) == (
        "default.aurora-postgresql15",
        "reports",
    )
    assert (writer["promotionTier"], reader["promotionTier"]) == (0, 1)
    # The first instance of a cluster becomes its writer.
    assert declared.goals["target-1-1"].urn in declared.goals["target-1-2"].dependencies
    assert declared.goals["target-1"].urn in declared.goals["target-1-1"].dependencies


def test_cluster_and_instances_are_marked_as_this_attempts(declare: Declare) -> None:
    declared = declare(AURORA.seen(), phase="restore")
    for name in ("target-1", "target-1-1", "target-1-2"):
        tags = declared.inputs(name)["tags"]
        assert (tags[STACK], tags[ATTEMPT], tags[SOURCE_RESOURCE_ID]) == ("orders-prod", "1", "cluster-SOURCE")
    assert declared.inputs("target-1")["tags"][MEMBERS] == "2"
    assert [declared.inputs(f"target-1-{n}")["tags"][MEMBER] for n in (1, 2)] == ["1", "2"]
    assert declared.inputs("target-1-2")["tags"]["role"] == "reader"


def test_what_would_replace_cluster_or_instances_is_left_out_constant_or_ignored(declare: Declare) -> None:
    declared = declare(AURORA.seen(), phase="restore")
    cluster, instance = declared.goals["target-1"], declared.goals["target-1-1"]
    assert FORCE_REPLACEMENT & set(cluster.inputs) <= SAME_FOR_EVER | set(cluster.ignore_changes)
    assert MEMBER_FORCE_REPLACEMENT & set(instance.inputs) <= SAME_FOR_EVER | set(instance.ignore_changes)


def test_what_would_be_modified_after_the_restore_is_left_out(declare: Declare) -> None:
    assert not set(declare(AURORA.seen(), phase="restore").inputs("target-1")) & MODIFY_AFTER_RESTORE


@pytest.mark.parametrize("public", [True, False])
def test_each_instance_is_as_public_as_the_sources(declare: Declare, public: bool) -> None:
    writer = member_of("orders-prod", 1, publicly_accessible=public)
    world = AURORA.seen(source=source(members=(writer, member_of("orders-prod", 2))))
    declared = declare(world, phase="restore")
    assert [declared.inputs(f"target-1-{n}")["publiclyAccessible"] for n in (1, 2)] == [public, False]
    private = declare(world, phase="restore", overrides=Overrides(publicly_accessible=False))
    assert not private.inputs("target-1-1")["publiclyAccessible"]


def test_explicit_config_wins_over_what_is_copied_and_goes_on_deciding(declare: Declare) -> None:
    chosen = Overrides(
        target_identifier="orders-new",
        instance_class="db.r7g.large",
        subnet_group="other",
        security_groups=("sg-9",),
        log_exports=("postgresql", "instance"),
    )
    declared = declare(AURORA.seen(), phase="restore", overrides=chosen)
    target, ignored = declared.inputs("target-1"), set(declared.goals["target-1"].ignore_changes)
    assert (target["clusterIdentifier"], target["dbSubnetGroupName"]) == ("orders-new", "other")
    assert target["vpcSecurityGroupIds"] == ["sg-9"]
    assert target["enabledCloudwatchLogsExports"] == ["postgresql", "instance"]
    assert not {"vpcSecurityGroupIds", "enabledCloudwatchLogsExports"} & ignored
    assert {"port", "engineVersion", "tags", "copyTagsToSnapshot"} <= ignored
    for number in (1, 2):
        member = declared.goals[f"target-1-{number}"]
        assert (member.inputs["identifier"], member.inputs["instanceClass"]) == (f"orders-new-{number}", "db.r7g.large")
        assert "instanceClass" not in member.ignore_changes


def test_the_outputs_are_the_contract(declare: Declare) -> None:
    before = Outputs.from_json(declare(AURORA.seen()).outputs)
    assert (before.engine, before.target, before.snapshot_arn) == ("aurora-postgresql", None, None)
    assert (before.source.resource_id, before.source.port) == ("cluster-SOURCE", 5433)
    assert before.source.host == "orders-prod.cluster.example"
    assert before.source.reader_host == "orders-prod.cluster-ro.example"
    assert before.source.members == ("orders-prod-1", "orders-prod-2")
    after = Outputs.from_json(declare(AURORA.seen(), phase="restore").outputs)
    assert after.target is not None
    assert after.target.identifier == "orders-prod-encrypted-1"
    assert after.target.host
    assert after.target.reader_host
    assert after.target.host != after.target.reader_host
    assert after.target.members == ("orders-prod-encrypted-1-1", "orders-prod-encrypted-1-2")
    assert after.kms_key_arn == KEY
    assert after.snapshot_arn == "arn:encryptdb-orders-prod-1"
    assert after.target_parameter_group == "encryptdb-orders-prod-target"


def test_the_outputs_follow_a_failover_of_the_target(declare: Declare) -> None:
    target = target_cluster_of(1)
    target = dataclasses.replace(target, members=target.members[::-1])
    after = Outputs.from_json(declare(AURORA.restored(targets={1: target}), phase="restore").outputs)
    assert after.target is not None
    assert after.target.members == ("orders-prod-encrypted-1-2", "orders-prod-encrypted-1-1")


@pytest.mark.parametrize("key", [OTHER_KEY, None], ids=["another key", "sse-rds"])
def test_an_encrypted_source_moves_to_another_key_the_same_way(declare: Declare, key: str | None) -> None:
    world = AURORA.seen(source=source(encrypted=True, kms_key_arn=key))
    assert declare(world, phase="restore").inputs("target-1")["kmsKeyId"] == KEY


def test_a_source_that_lost_or_gained_readers_does_not_change_how_many_the_target_has(declare: Declare) -> None:
    for members in ((), *(tuple(member_of("orders-prod", n) for n in range(1, m + 1)) for m in (1, 3))):
        declared = declare(AURORA.restored(source=source(members=members or SOURCE_CLUSTER.members)), phase="restore")
        assert {n for n in declared.names() if n.startswith("target-1-")} == {"target-1-1", "target-1-2"}


def test_an_instance_that_is_still_missing_is_made_like_the_sources(declare: Declare) -> None:
    target = target_cluster_of(1)
    world = AURORA.restored(
        targets={1: dataclasses.replace(target, members=target.members[:1])},
        identifiers=frozenset({target.members[0].identifier}),
    )
    declared = declare(world, phase="restore")
    assert declared.inputs("target-1-2")["identifier"] == "orders-prod-encrypted-1-2"
    assert declared.inputs("target-1-2")["instanceClass"] == "db.r6g.medium"
    members = Outputs.from_json(declared.outputs).target
    assert members is not None
    assert members.members == ("orders-prod-encrypted-1-1", "orders-prod-encrypted-1-2")


def test_a_reader_that_the_owner_added_is_told_but_not_declared(declare: Declare) -> None:
    target = target_cluster_of(1)
    target = dataclasses.replace(target, members=(*target.members, member_of("theirs", 1)))
    declared = declare(AURORA.restored(targets={1: target}), phase="restore")
    assert "target-1-3" not in declared.names()
    told = Outputs.from_json(declared.outputs).target
    assert told is not None
    assert told.members is not None
    assert "theirs-1" in told.members


def test_iam_authentication_is_asked_for_until_the_target_has_it(declare: Declare) -> None:
    # Left out of the restore by the provider: a second `up` turns it on.
    declared = declare(AURORA.restored(targets={1: target_cluster_of(1, iam_authentication=False)}), phase="restore")
    assert declared.inputs("target-1")["iamDatabaseAuthenticationEnabled"] is True
    assert "iamDatabaseAuthenticationEnabled" not in declared.goals["target-1"].ignore_changes
