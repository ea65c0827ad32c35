"""An encrypted copy of an RDS for PostgreSQL instance: parameter groups, link, snapshot, encrypted copy, target."""

import pulumi
import pulumi_aws as aws

from stacks import names
from stacks.facts import Instance
from stacks.outputs import CONTRACT, Outputs, Side
from stacks.plan import Group, Link, Plan

LONG = pulumi.CustomTimeouts(create="12h", update="12h", delete="2h")
"""A large database takes hours to snapshot, to copy and to restore; the provider's own limits are 20 to 80 minutes."""

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


class EncryptedInstance(pulumi.ComponentResource):
    """Everything one stack declares around one RDS instance.

    Logical names of what an attempt makes end in the attempt; nothing here is ever replaced by a later `up`.
    """

    def __init__(self, name: str, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("encryptdb:rds:EncryptedInstance", name, None, opts)
        self.plan = plan
        self.inside = pulumi.ResourceOptions(parent=self)
        source_group = self._group("source-parameters", plan.source_group)
        target_group = self._group("target-parameters", plan.target_group)
        for rule in plan.link:
            self._ingress(rule)
        target_group_name = target_group.name if target_group else plan.template.parameter_group
        self._keep_earlier_targets()
        snapshot = self._snapshot() if plan.snapshot else None
        encrypted = self._encrypted(snapshot) if snapshot else None
        target = self._target(encrypted, target_group_name) if plan.restored else None
        self.outputs = self._outputs(
            snapshot_arn=snapshot.db_snapshot_arn if snapshot else None,
            source_group=source_group.name if source_group else None,
            target_group=target_group_name,
            target=target,
        )
        self.register_outputs({})

    def _group(self, name: str, group: Group | None) -> aws.rds.ParameterGroup | None:
        if group is None:
            return None
        return aws.rds.ParameterGroup(
            name,
            name=group.name,
            family=group.family,
            description=f"encryptdb: the {name.split('-')[0]} of stack {self.plan.settings.stack}",
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name=s.name, value=s.value, apply_method=s.apply_method)
                for s in group.settings
            ],
            tags=dict(group.tags),
            opts=self.inside,
        )

    def _ingress(self, rule: Link) -> None:
        aws.vpc.SecurityGroupIngressRule(
            rule.name,
            security_group_id=rule.group,
            referenced_security_group_id=rule.referenced,
            ip_protocol="tcp",
            from_port=rule.port,
            to_port=rule.port,
            description="encryptdb: replication between source and target",
            tags={names.STACK: self.plan.settings.stack, names.LINK: rule.name},
            opts=self._with(ignore_changes=["*"] if rule.as_it_is else None),
        )

    def _snapshot(self) -> aws.rds.Snapshot:
        return aws.rds.Snapshot(
            f"snapshot-{self.plan.called.attempt}",
            db_snapshot_identifier=self.plan.called.snapshot,
            db_instance_identifier=self.plan.source.identifier,
            tags=dict(self.plan.tags),
            # A renamed source would otherwise plan a new snapshot, and with it a new everything.
            opts=self._with(custom_timeouts=LONG, ignore_changes=["dbInstanceIdentifier", "tags"]),
        )

    def _encrypted(self, snapshot: aws.rds.Snapshot) -> aws.rds.SnapshotCopy:
        return aws.rds.SnapshotCopy(
            f"encrypted-snapshot-{self.plan.called.attempt}",
            # Read back as ARNs: a bare name or an alias would plan a replacement at every run.
            source_db_snapshot_identifier=snapshot.db_snapshot_arn,
            target_db_snapshot_identifier=self.plan.called.encrypted_snapshot,
            kms_key_id=self.plan.kms_key_arn,
            tags=dict(self.plan.tags),
            opts=self._with(custom_timeouts=LONG, ignore_changes=["sourceDbSnapshotIdentifier", "tags"]),
        )

    def _target(self, encrypted: aws.rds.SnapshotCopy | None, group: pulumi.Input[str] | None) -> aws.rds.Instance:
        plan, template, chosen = self.plan, self.plan.template, self.plan.settings.overrides
        called = plan.called
        identifier = chosen.target_identifier or called.target(plan.source.identifier)
        inherited = {k: v for k, v in template.tags.items() if not k.startswith(("aws:", "encryptdb:"))}
        return aws.rds.Instance(
            f"target-{called.attempt}",
            identifier=identifier,
            # In `retire` the snapshot is gone; the input is never read back, and ignored once the target is there.
            snapshot_identifier=encrypted.target_db_snapshot_identifier if encrypted else called.encrypted_snapshot,
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
            final_snapshot_identifier=f"{called.snapshot}-final",
            tags=inherited | dict(plan.tags),
            opts=self._with(
                protect=True,
                custom_timeouts=LONG,
                ignore_changes=["snapshotIdentifier", *self._copied_once()],
            ),
        )

    def _copied_once(self) -> list[str]:
        """The inputs that keep the value they were made with, because no explicit config decides about them."""
        chosen = self.plan.settings.overrides
        return [i for i, override in COPIED.items() if override is None or getattr(chosen, override) is None]

    def _keep_earlier_targets(self) -> None:
        """Go on declaring targets of earlier attempts, exactly as they are.

        They are protected, and Pulumi refuses to delete what is protected: were they left out, no attempt but the
        first could ever go up. Their owner deletes them; then they are not found any more, and not declared.
        """
        for attempt, instance in self.plan.earlier.items():
            self._earlier(attempt, instance)

    def _earlier(self, attempt: int, instance: Instance) -> None:
        aws.rds.Instance(
            f"target-{attempt}",
            identifier=instance.identifier,
            instance_class=instance.instance_class,
            storage_encrypted=True,
            opts=self._with(protect=True, ignore_changes=["*"], custom_timeouts=LONG),
        )

    def _with(self, **options: object) -> pulumi.ResourceOptions:
        merged = pulumi.ResourceOptions.merge(self.inside, pulumi.ResourceOptions(**options))  # type: ignore[arg-type]
        assert merged is not None, "merging two options gives one"
        return merged

    def _outputs(
        self,
        snapshot_arn: pulumi.Output[str] | None,
        source_group: pulumi.Output[str] | None,
        target_group: pulumi.Input[str] | None,
        target: aws.rds.Instance | None,
    ) -> pulumi.Output[dict[str, object]]:
        """The contract as one document (see stacks/outputs.py)."""
        plan, settings = self.plan, self.plan.settings

        def document(known: dict[str, object]) -> dict[str, object]:
            side = (
                Side(
                    identifier=str(known["identifier"]),
                    resource_id=str(known["resource_id"]),
                    host=str(known["host"]),
                    port=int(float(str(known["port"]))),
                    secret_arn=settings.target_secret,
                )
                if target
                else None
            )
            return Outputs(
                contract=CONTRACT,
                stack=settings.stack,
                phase=settings.phase,
                attempt=settings.attempt,
                engine="postgres",
                region=plan.place.region,
                account=plan.place.account,
                source=plan.source,
                target=side,
                kms_key_arn=plan.kms_key_arn,
                snapshot_arn=_text(known["snapshot_arn"]),
                source_parameter_group=_text(known["source_group"]),
                target_parameter_group=_text(known["target_group"]),
                switches=settings.switches,
                rollback_window=settings.rollback_window,
                auth=settings.auth,
            ).to_json()

        return pulumi.Output.all(
            snapshot_arn=snapshot_arn,
            source_group=source_group,
            target_group=target_group,
            identifier=target.identifier if target else None,
            resource_id=target.resource_id if target else None,
            host=target.address if target else None,
            port=target.port if target else None,
        ).apply(document)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
