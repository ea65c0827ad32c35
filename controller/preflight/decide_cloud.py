"""Decisions about what AWS says: identity, encryption, state, parameter groups."""

from collections.abc import Iterator

from encryptdb.controller.preflight.facts import Facts, Stage
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import listed
from encryptdb.stacks.cloud.database import CHANGING, Database, same_key
from encryptdb.stacks.cloud.eligibility import reasons


def identity(facts: Facts) -> Iterator[Finding]:
    """Both sides are those that the stack knows, and not others of the same name."""
    if facts.cloud is None:
        return
    sides = [("source", facts.outputs.source, facts.cloud.source)]
    if facts.outputs.target is not None:
        sides.append(("target", facts.outputs.target, facts.cloud.target))
    for side, known, found in sides:
        if facts.stage == Stage.OPEN and side == "source":
            continue
        if found is None:
            yield Finding(
                "blocks",
                found=f"AWS knows no {facts.outputs.engine} database {known.identifier} in {facts.outputs.region}.",
                needed=f"The {side} that the stack's outputs name.",
                remedy=f"pulumi up --stack {facts.outputs.stack}, after correcting the config if it was renamed.",
                side=side,
            )
        elif found.resource_id != known.resource_id:
            yield Finding(
                "blocks",
                found=f"{known.identifier} is another {facts.words.noun} now: {found.resource_id}, "
                f"not {known.resource_id}.",
                needed=f"The very {facts.words.noun} that the stack was made for: its slots, its snapshot, its WAL.",
                remedy=f"pulumi up --stack {facts.outputs.stack}; if it was replaced, a new attempt.",
                side=side,
            )
        if found is not None and found.engine != facts.outputs.engine:
            yield Finding(
                "blocks",
                found=f"AWS says that {known.identifier} is {found.engine}; the stack says {facts.outputs.engine}.",
                needed="One engine: RDS and Aurora LSNs have nothing in common.",
                remedy="Correct the stack's config (source), then pulumi up.",
                side=side,
            )


def eligibility(facts: Facts) -> Iterator[Finding]:
    """The source is one that can be encrypted here; of its key, `source_encryption` tells."""
    source = facts.cloud.source if facts.cloud else None
    if source is None:
        return
    stack = facts.outputs.stack
    for reason in reasons(source, stack):
        name = reason.instead or "IDENTIFIER"
        again = f"pulumi config set encryptdb:source {name} --stack {stack}, then pulumi up"
        yield Finding(
            "warns" if reason.passes else "blocks",
            found=f"{reason.message} {reason.detail}",
            needed="A source that can be encrypted here.",
            remedy=reason.hint if reason.passes or not reason.instead else f"{reason.hint} {again}",
            side="source",
        )


def source_encryption(facts: Facts) -> Iterator[Finding]:
    source = facts.cloud.source if facts.cloud else None
    if source is None or not source.encrypted:
        return
    if same_key(source.kms_key_arn, facts.outputs.kms_key_arn):
        yield Finding(
            "blocks",
            found=f"The source is encrypted under this very key already: {source.kms_key_arn}.",
            needed="A source that is not encrypted, or another key to encrypt under.",
            remedy="Nothing is to be done. To change the key: "
            f"pulumi config set kmsKey KEY --stack {facts.outputs.stack}, then pulumi up.",
            side="source",
        )
    else:
        yield Finding(
            "ok",
            found=f"The source is encrypted under {source.kms_key_arn or 'a key of the service'}; it is re-keyed.",
            needed=f"Another key for the target: {facts.outputs.kms_key_arn}.",
            side="source",
        )


def target_encryption(facts: Facts) -> Iterator[Finding]:
    target = facts.cloud.target if facts.cloud else None
    if target is None:
        return
    again = f"The snapshot was restored without the key. Abandon, and start a new attempt of {facts.outputs.stack}."
    if not target.under_kms_key:
        kind = f" (StorageEncryptionType {target.encryption_type})" if target.encryption_type else ""
        yield Finding(
            "blocks",
            found=f"The target is not encrypted under a KMS key{kind}.",
            needed=f"Storage encrypted under {facts.outputs.kms_key_arn}: it cannot be switched on in place.",
            remedy=again,
            side="target",
        )
    elif not same_key(target.kms_key_arn, facts.outputs.kms_key_arn):
        yield Finding(
            "blocks",
            found=f"The target is encrypted under another key: {target.kms_key_arn}.",
            needed=f"The key of the stack: {facts.outputs.kms_key_arn}.",
            remedy=again,
            side="target",
        )


def instance_state(facts: Facts) -> Iterator[Finding]:
    for side, instance in _described(facts):
        if not instance.serving:
            busy = instance.overall_status in CHANGING
            yield Finding(
                "warns" if busy else "blocks",
                found=f"{instance.identifier} is {instance.overall_status}.",
                needed=f"An available {facts.words.noun}.",
                remedy="Wait until it has ended." if busy else facts.words.events(instance.identifier),
                side=side,
            )
        if instance.pending and facts.stage == Stage.UNPREPARED:
            yield Finding(
                "warns",
                found=f"Modifications wait for the maintenance window: {listed(sorted(instance.pending))}.",
                needed="To accept that they happen at prepare's reboot: attaching a parameter group at once applies "
                "everything that is pending.",
                remedy=f"Apply or take them back first: {facts.words.modify(instance.identifier, '…')}",
                side=side,
            )
        if instance.parameter_status == "pending-reboot" and (side == "target" or facts.stage >= Stage.PREPARED):
            yield Finding(
                "warns",
                found=f"Parameters of {instance.parameter_group} wait for a reboot of {instance.identifier}.",
                needed="To know what the next restart will bring, whoever causes it.",
                remedy=f"{facts.words.reboot(facts.known(side))} (in a quiet hour)",
                side=side,
            )
    cloud = facts.cloud
    if cloud and cloud.source and cloud.target and cloud.target.public and not cloud.source.public:
        yield Finding(
            "warns",
            found="The target is publicly accessible, the source is not.",
            needed="No wider reach than before.",
            remedy="; ".join(
                f"aws rds modify-db-instance --db-instance-identifier {name} --no-publicly-accessible "
                "--apply-immediately"
                for name in _public_instances(cloud.target)
            ),
            side="target",
        )


def _public_instances(found: Database) -> list[str]:
    """The instances to be modified: of a cluster, its public members."""
    return [m.identifier for m in found.members if m.public] or [found.identifier]


def parameter_groups(facts: Facts) -> Iterator[Finding]:
    """The stack's groups hold what replication needs: with parameterGroup `existing` they are the owner's."""
    if facts.cloud is None:
        return
    for group, parameters in facts.cloud.groups.items():
        side = "source" if group == facts.outputs.source_parameter_group else "target"
        if parameters is None:
            yield Finding(
                "blocks",
                found=f"There is no parameter group {group}.",
                needed="The group that the stack's outputs name.",
                remedy=f"pulumi up --stack {facts.outputs.stack}",
                side=side,
            )
            continue
        lacking = [
            name
            for name in ("rds.logical_replication", "track_commit_timestamp")
            if parameters.get(name, "").lower() not in ("1", "on", "true")
        ]
        if lacking:
            yield Finding(
                "blocks",
                found=f"The parameter group {group} does not set {' and '.join(lacking)}.",
                needed="Both set to 1: at the next restart the server would run without them, or not start at all "
                "while a slot exists.",
                remedy=facts.words.set_parameters(group, dict.fromkeys(lacking, 1)),
                side=side,
            )


def _described(facts: Facts) -> Iterator[tuple[str, Database]]:
    if facts.cloud is None:
        return
    if facts.cloud.source is not None and facts.stage != Stage.OPEN:
        yield "source", facts.cloud.source
    if facts.cloud.target is not None:
        yield "target", facts.cloud.target
