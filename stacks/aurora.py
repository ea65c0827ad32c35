"""An encrypted copy of an Aurora PostgreSQL cluster: cluster snapshot, cluster restored with the key, instances.

There is no encrypted copy of the snapshot: AWS refuses to copy an unencrypted cluster snapshot with a key, and encrypts
when it restores one.
"""

import pulumi_aws as aws
from pulumi import Input, Output

from encryptdb.stacks.cloud.database import Cluster, Database
from encryptdb.stacks.component import LONG, Encrypted, Made, Taken
from encryptdb.stacks.contract import names
from encryptdb.stacks.members import Member, own_members
from encryptdb.stacks.plan import Group

NEVER_AGAIN = ["snapshotIdentifier", "kmsKeyId", "clusterIdentifier", "dbSubnetGroupName"]
"""What only a new cluster could have. Config that asks for another one is refused before it comes to that."""

COPIED = {
    "vpcSecurityGroupIds": "security_groups",
    "enabledCloudwatchLogsExports": "log_exports",
    "engineVersion": None,
    "port": None,
    "copyTagsToSnapshot": None,
    "serverlessv2ScalingConfiguration": None,
    "tags": None,
}
"""Inputs of the target cluster that are copied once, each with the override that takes their place.

Capacity is set by a modification after the restore: there is no instance yet that could restart.
"""

MEMBER_COPIED = {
    "instanceClass": "instance_class",
    "publiclyAccessible": "publicly_accessible",
    "identifier": None,
    "clusterIdentifier": None,
    "dbParameterGroupName": None,
    "promotionTier": None,
    "autoMinorVersionUpgrade": None,
    "copyTagsToSnapshot": None,
    "tags": None,
}
"""The same of each of its instances."""


class EncryptedCluster(Encrypted):
    """Everything one stack declares around one Aurora cluster."""

    kind = "encryptdb:rds:EncryptedCluster"

    def group(self, name: str, group: Group, description: str) -> Output[str]:
        return aws.rds.ClusterParameterGroup(
            name,
            name=group.name,
            family=group.family,
            description=description,
            parameters=[
                aws.rds.ClusterParameterGroupParameterArgs(name=s.name, value=s.value, apply_method=s.apply_method)
                for s in group.settings
            ],
            tags=dict(group.tags),
            opts=self.inside,
        ).name

    def snapshot(self) -> Taken:
        plan = self.plan
        snapshot = aws.rds.ClusterSnapshot(
            f"snapshot-{plan.called.attempt}",
            db_cluster_snapshot_identifier=plan.called.snapshot,
            db_cluster_identifier=plan.source.identifier,
            tags=dict(plan.tags),
            # A renamed source would otherwise plan a new snapshot, and with it a new everything.
            opts=self.merged(custom_timeouts=LONG, ignore_changes=["dbClusterIdentifier", "tags"]),
        )
        return Taken(snapshot.db_cluster_snapshot_arn, snapshot.db_cluster_snapshot_identifier)

    def target(self, taken: Taken | None, group: Input[str] | None) -> Made:
        plan, template, chosen = self.plan, self.plan.template, self.plan.settings.overrides
        assert isinstance(template, Cluster), "a cluster is like a cluster"
        cluster = aws.rds.Cluster(
            f"target-{plan.called.attempt}",
            cluster_identifier=plan.identifier,
            engine=template.engine,
            # Left out, AWS might restore to a newer version, whose catalog the proof knows nothing of.
            engine_version=template.engine_version,
            # In `retire` the snapshot is gone; the input is never read back, and ignored once the target is there.
            snapshot_identifier=taken.restore_from if taken else plan.called.snapshot,
            # The snapshot is not encrypted: without the key, neither would the cluster be.
            kms_key_id=plan.kms_key_arn,
            storage_encrypted=True,
            db_subnet_group_name=chosen.subnet_group or template.subnet_group,
            vpc_security_group_ids=list(chosen.security_groups or template.security_groups),
            db_cluster_parameter_group_name=group,
            port=template.port,
            enabled_cloudwatch_logs_exports=list(chosen.log_exports or template.log_exports),
            iam_database_authentication_enabled=plan.iam_authentication,
            copy_tags_to_snapshot=template.copy_tags_to_snapshot,
            serverlessv2_scaling_configuration=_capacity(template),
            apply_immediately=True,
            deletion_protection=True,
            # Should the owner ever take the protection off and delete it, its data still outlives it.
            skip_final_snapshot=False,
            final_snapshot_identifier=f"{plan.called.snapshot}-final",
            tags=self.tags(
                template, {names.MEMBERS: str(len(plan.members)), names.IAM: str(plan.iam_authentication).lower()}
            ),
            opts=self.merged(
                protect=True,
                custom_timeouts=LONG,
                ignore_changes=[*NEVER_AGAIN, *self.copied_once(COPIED)],
            ),
        )
        instances: list[aws.rds.ClusterInstance] = []
        for member in plan.members:
            instances.append(self._member(cluster, member, instances[-1:]))
        return Made(
            identifier=cluster.cluster_identifier,
            resource_id=cluster.cluster_resource_id,
            host=cluster.endpoint,
            port=cluster.port,
            reader_host=cluster.reader_endpoint,
            members=self._known_members() or [i.identifier for i in instances],
        )

    def _member(
        self, cluster: aws.rds.Cluster, member: Member, before: list[aws.rds.ClusterInstance]
    ) -> aws.rds.ClusterInstance:
        like, chosen = member.like, self.plan.settings.overrides
        return aws.rds.ClusterInstance(
            f"target-{self.plan.called.attempt}-{member.number}",
            cluster_identifier=cluster.id,
            identifier=member.identifier,
            engine=aws.rds.EngineType.AURORA_POSTGRESQL,
            instance_class=chosen.instance_class or like.instance_class,
            publicly_accessible=(
                like.publicly_accessible if chosen.publicly_accessible is None else chosen.publicly_accessible
            ),
            db_parameter_group_name=like.parameter_group,
            promotion_tier=like.promotion_tier,
            auto_minor_version_upgrade=like.auto_minor_version_upgrade,
            # The cluster's counts; left out, the provider would plan to switch it off here.
            copy_tags_to_snapshot=like.copy_tags_to_snapshot,
            apply_immediately=True,
            tags=self.tags(like, {names.MEMBER: str(member.number)}),
            opts=self.merged(
                protect=True,
                custom_timeouts=LONG,
                ignore_changes=self.copied_once(MEMBER_COPIED),
                # The first instance of a cluster becomes its writer.
                depends_on=before,
            ),
        )

    def _known_members(self) -> list[str] | None:
        """The target's instances as AWS lists them, the writer first; None while one is still missing."""
        target = self.plan.target
        listed = [m.identifier for m in target.members] if target else []
        return listed if listed and {m.identifier for m in self.plan.members} <= set(listed) else None

    def keep(self, attempt: int, earlier: Database) -> None:
        as_it_is = self.merged(protect=True, ignore_changes=["*"], custom_timeouts=LONG)
        cluster = aws.rds.Cluster(
            f"target-{attempt}",
            cluster_identifier=earlier.identifier,
            engine=earlier.engine,
            storage_encrypted=True,
            opts=as_it_is,
        )
        for number, instance in own_members(earlier).items():
            aws.rds.ClusterInstance(
                f"target-{attempt}-{number}",
                cluster_identifier=cluster.id,
                identifier=instance.identifier,
                engine=aws.rds.EngineType.AURORA_POSTGRESQL,
                instance_class=instance.instance_class,
                opts=as_it_is,
            )


def _capacity(like: Cluster) -> aws.rds.ClusterServerlessv2ScalingConfigurationArgs | None:
    if like.capacity is None:
        return None
    return aws.rds.ClusterServerlessv2ScalingConfigurationArgs(
        min_capacity=like.capacity.least,
        max_capacity=like.capacity.most,
        seconds_until_auto_pause=like.capacity.pause_after,
    )
