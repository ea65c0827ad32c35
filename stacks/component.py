"""What is declared for every engine: parameter groups, link, earlier targets, outputs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pulumi
import pulumi_aws as aws

from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.outputs import CONTRACT, Outputs, Side
from encryptdb.stacks.plan import Group, Link, Plan

LONG = pulumi.CustomTimeouts(create="12h", update="12h", delete="2h")
"""A large database takes hours to snapshot, to copy and to restore; the provider's own limits are 20 to 120 minutes."""


@dataclass(frozen=True)
class Taken:
    """A snapshot of the source: its ARN, and the identifier of what the target is restored from."""

    arn: pulumi.Output[str]
    restore_from: pulumi.Input[str]


@dataclass(frozen=True)
class Made:
    """A target, for the outputs."""

    identifier: pulumi.Input[str]
    resource_id: pulumi.Input[str]
    host: pulumi.Input[str]
    port: pulumi.Input[int]
    reader_host: pulumi.Input[str | None] = None
    members: Sequence[pulumi.Input[str]] | None = None


class Encrypted(pulumi.ComponentResource):
    """Everything one stack declares around one database.

    Logical names of what an attempt makes end in the attempt; nothing here is ever replaced by a later `up`.
    """

    kind: ClassVar[str]
    """Its Pulumi type."""

    def __init__(self, name: str, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.kind, name, None, opts)
        self.plan = plan
        self.inside = pulumi.ResourceOptions(parent=self)
        source_group = self._group("source-parameters", plan.source_group)
        target_group = self._group("target-parameters", plan.target_group)
        for rule in plan.link:
            self._ingress(rule)
        target_group_name = target_group or plan.template.parameter_group
        # Targets of earlier attempts stay declared, exactly as they are. They are protected, and Pulumi refuses to
        # delete what is protected: were they left out, no attempt but the first could ever go up. Their owner deletes
        # them; then they are not found any more, and not declared.
        for attempt, earlier in plan.earlier.items():
            self.keep(attempt, earlier)
        taken = self.snapshot() if plan.snapshot else None
        target = self.target(taken, target_group_name) if plan.restored else None
        self.outputs = self._outputs(taken, source_group, target_group_name, target)
        self.register_outputs({})

    @abstractmethod
    def group(self, name: str, group: Group, description: str) -> pulumi.Output[str]:
        """Declare a parameter group; its name."""

    @abstractmethod
    def snapshot(self) -> Taken:
        """Declare the snapshot of the source, and what else the target needs to be restored encrypted."""

    @abstractmethod
    def target(self, taken: Taken | None, group: pulumi.Input[str] | None) -> Made:
        """Declare the target. In `retire` there is nothing to restore it from any more."""

    @abstractmethod
    def keep(self, attempt: int, earlier: Database) -> None:
        """Declare the target of an earlier attempt as it is."""

    def merged(self, **options: Any) -> pulumi.ResourceOptions:
        """The options of everything inside, and these."""
        merged = pulumi.ResourceOptions.merge(self.inside, pulumi.ResourceOptions(**options))
        assert merged is not None, "merging two options gives one"
        return merged

    def copied_once(self, inputs: Mapping[str, str | None]) -> list[str]:
        """The inputs that keep the value they were made with, because no explicit config decides about them."""
        chosen = self.plan.settings.overrides
        return [i for i, override in inputs.items() if override is None or getattr(chosen, override) is None]

    def tags(self, like: Database, *more: Mapping[str, str]) -> dict[str, str]:
        """The tags of a target: those of what it is like, and what marks it as this attempt's."""
        tags = names.owners(like.tags) | dict(self.plan.tags)
        # The controller writes how the migration ended; it stays.
        ended = self.plan.target.tags.get(names.STATE) if self.plan.target else None
        if ended:
            tags[names.STATE] = ended
        for extra in more:
            tags |= extra
        return tags

    def _group(self, name: str, group: Group | None) -> pulumi.Output[str] | None:
        if group is None:
            return None
        return self.group(name, group, f"encryptdb: the {name.split('-')[0]} of stack {self.plan.settings.stack}")

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
            opts=self.merged(ignore_changes=["*"] if rule.as_it_is else None),
        )

    def _outputs(
        self,
        taken: Taken | None,
        source_group: pulumi.Output[str] | None,
        target_group: pulumi.Input[str] | None,
        target: Made | None,
    ) -> pulumi.Output[dict[str, object]]:
        """The contract as one document (see stacks/contract/outputs.py)."""
        plan, settings = self.plan, self.plan.settings

        def document(known: dict[str, Any]) -> dict[str, object]:
            made = known["target"]
            side = (
                Side(
                    identifier=str(made["identifier"]),
                    resource_id=str(made["resource_id"]),
                    host=str(made["host"]),
                    port=int(float(made["port"])),
                    secret_arn=settings.target_secret,
                    reader_host=_text(made["reader_host"]),
                    members=None if made["members"] is None else tuple(str(m) for m in made["members"]),
                )
                if made
                else None
            )
            return Outputs(
                contract=CONTRACT,
                stack=settings.stack,
                phase=settings.phase,
                attempt=settings.attempt,
                engine=plan.engine,
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
            snapshot_arn=taken.arn if taken else None,
            source_group=source_group,
            target_group=target_group,
            target={f.name: getattr(target, f.name) for f in fields(target)} if target else None,
        ).apply(document)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
