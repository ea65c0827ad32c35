"""An encrypted copy of an RDS for PostgreSQL instance: snapshot, encrypted copy of it, restored instance."""

import pulumi_aws as aws
from pulumi import Input, Output

from encryptdb.stacks.cloud.database import Database, Instance
from encryptdb.stacks.component import LONG, Encrypted, Made, Taken
from encryptdb.stacks.plan import Group

COPIED = {
    "identifier": "target_identifier",
    "instanceClass": "instance_class",
    "dbSubnetGroupName": "subnet_group",
    "vpcSecurityGroupIds": "security_groups",
    "multiAz": "multi_az",
    "enabledCloudwatchLogsExports": "log_exports",
    "publiclyAccessible": "publicly_accessible",
    "port": None,
    "iamDatabaseAuthenticationEnabled": None,
    "copyTagsToSnapshot": None,
    "autoMinorVersionUpgrade": None,
    "tags": None,
}
"""Inputs of the target that are copied once, each with the override that takes their place.

All of them are arguments of RestoreDBInstanceFromDBSnapshot. What the provider sets with a modification after the
restore (storage, CA, backups, windows, monitoring, version, password) is left as the snapshot has it: a restart then
would take away what the end of recovery is read from.
"""


class EncryptedInstance(Encrypted):
    """Everything one stack declares around one RDS instance."""

    kind = "encryptdb:rds:EncryptedInstance"

    def group(self, name: str, group: Group, description: str) -> Output[str]:
        return aws.rds.ParameterGroup(
            name,
            name=group.name,
            family=group.family,
            description=description,
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name=s.name, value=s.value, apply_method=s.apply_method)
                for s in group.settings
            ],
            tags=dict(group.tags),
            opts=self.inside,
        ).name

    def snapshot(self) -> Taken:
        plan = self.plan
        snapshot = aws.rds.Snapshot(
            f"snapshot-{plan.called.attempt}",
            db_snapshot_identifier=plan.called.snapshot,
            db_instance_identifier=plan.source.identifier,
            tags=dict(plan.tags),
            # A renamed source would otherwise plan a new snapshot, and with it a new everything.
            opts=self.merged(custom_timeouts=LONG, ignore_changes=["dbInstanceIdentifier", "tags"]),
        )
        encrypted = aws.rds.SnapshotCopy(
            f"encrypted-snapshot-{plan.called.attempt}",
            # Read back as ARNs: a bare name or an alias would plan a replacement at every run.
            source_db_snapshot_identifier=snapshot.db_snapshot_arn,
            target_db_snapshot_identifier=plan.called.encrypted_snapshot,
            kms_key_id=plan.kms_key_arn,
            tags=dict(plan.tags),
            opts=self.merged(custom_timeouts=LONG, ignore_changes=["sourceDbSnapshotIdentifier", "tags"]),
        )
        return Taken(snapshot.db_snapshot_arn, encrypted.target_db_snapshot_identifier)

    def target(self, taken: Taken | None, group: Input[str] | None) -> Made:
        plan, template, chosen = self.plan, self.plan.template, self.plan.settings.overrides
        assert isinstance(template, Instance), "an instance is like an instance"
        target = aws.rds.Instance(
            f"target-{plan.called.attempt}",
            identifier=plan.identifier,
            # In `retire` the snapshot is gone; the input is never read back, and ignored once the target is there.
            snapshot_identifier=taken.restore_from if taken else plan.called.encrypted_snapshot,
            # Left out, the provider would plan to replace the target by an unencrypted one.
            storage_encrypted=True,
            instance_class=chosen.instance_class or template.instance_class,
            db_subnet_group_name=chosen.subnet_group or template.subnet_group,
            vpc_security_group_ids=list(chosen.security_groups or template.security_groups),
            multi_az=template.multi_az if chosen.multi_az is None else chosen.multi_az,
            enabled_cloudwatch_logs_exports=list(chosen.log_exports or template.log_exports),
            publicly_accessible=(
                template.publicly_accessible if chosen.publicly_accessible is None else chosen.publicly_accessible
            ),
            port=template.port,
            iam_database_authentication_enabled=template.iam_authentication,
            copy_tags_to_snapshot=template.copy_tags_to_snapshot,
            auto_minor_version_upgrade=template.auto_minor_version_upgrade,
            parameter_group_name=group,
            apply_immediately=True,
            deletion_protection=True,
            # Should the owner ever take the protection off and delete it, its data still outlives it.
            skip_final_snapshot=False,
            final_snapshot_identifier=f"{plan.called.snapshot}-final",
            tags=self.tags(template),
            opts=self.merged(
                protect=True,
                custom_timeouts=LONG,
                ignore_changes=["snapshotIdentifier", *self.copied_once(COPIED)],
            ),
        )
        return Made(target.identifier, target.resource_id, target.address, target.port)

    def keep(self, attempt: int, earlier: Database) -> None:
        aws.rds.Instance(
            f"target-{attempt}",
            identifier=earlier.identifier,
            instance_class=earlier.classes[0],
            storage_encrypted=True,
            opts=self.merged(protect=True, ignore_changes=["*"], custom_timeouts=LONG),
        )
