"""What AWS says: identity, encryption, state, parameter groups, replicas. The one place where preflight asks AWS."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from encryptdb.controller.migration import Migration
from encryptdb.controller.preflight.check import Findings, blocks, check, migration, ok, warns
from encryptdb.controller.preflight.facts import Facts, Reading, Stage
from encryptdb.controller.preflight.text import listed
from encryptdb.stacks.cloud.database import CHANGING, Database, same_key
from encryptdb.stacks.cloud.eligibility import reasons


@dataclass(frozen=True)
class CloudFacts:
    """What AWS says. A side is None where AWS says that there is none.

    `groups` holds the user-set parameters of the stack's parameter groups (None: the group does not exist);
    `free_bytes` is the source's free storage, None where there is no figure: then `free_unknown` says why, or the
    storage grows by itself and there is none.
    """

    source: Database | None
    target: Database | None
    groups: Mapping[str, Mapping[str, str] | None]
    free_bytes: int | None
    free_unknown: str | None = None


def _read(m: Migration) -> CloudFacts:
    outputs = m.outputs
    free, unknown = m.engine.free_bytes(outputs.source.identifier)
    groups = sorted({g for g in (outputs.source_parameter_group, outputs.target_parameter_group) if g})
    return CloudFacts(
        source=m.engine.find(outputs.source.identifier),
        target=m.engine.find(outputs.target.identifier) if outputs.target is not None else None,
        groups={group: m.engine.user_parameters(group) for group in groups},
        free_bytes=free,
        free_unknown=unknown,
    )


CLOUD = Reading("what AWS says", "migration", _read, origin="aws")


def _described(facts: Facts) -> Iterator[tuple[str, Database]]:
    """The sides that count and that AWS knows."""
    for side, found in (("source", facts[CLOUD].source), ("target", facts[CLOUD].target)):
        if found is not None and not (side == "source" and facts.stage == Stage.OPEN):
            yield side, found


@check(migration, "blocks", reads=(CLOUD,), sides="none")
def identity(facts: Facts) -> Findings:
    """The instances or clusters are those of the stack's outputs. They are compared by resource id: another one may
    have taken the name since."""
    for side in ("source", "target") if facts.outputs.target is not None else ("source",):
        if facts.stage == Stage.OPEN and side == "source":
            continue
        known = facts.known(side)
        found = facts[CLOUD].source if side == "source" else facts[CLOUD].target
        if found is None:
            yield blocks(
                f"AWS has no {facts.outputs.engine} database {known.identifier} in {facts.outputs.region}.",
                f"The {side} that the stack's outputs name.",
                facts.config("source", "IDENTIFIER") if side == "source" else facts.up,
                side=side,
            )
            continue
        if found.resource_id != known.resource_id:
            yield blocks(
                f"{known.identifier} is now another {facts.words.noun}: {found.resource_id}, not {known.resource_id}.",
                f"The {facts.words.noun} that the stack was made for, with its slots, its snapshot and its WAL.",
                facts.up if facts.stage == Stage.UNPREPARED else facts.new_attempt,
                side=side,
            )
        if found.engine != facts.outputs.engine:
            yield blocks(
                f"AWS says that {known.identifier} is {found.engine}; the stack says {facts.outputs.engine}.",
                "The same engine on both sides: LSNs of RDS and of Aurora are unrelated.",
                facts.config("source", "IDENTIFIER"),
                part="engine",
                side=side,
            )


@check(migration, "blocks; warns for what passes by itself", reads=(CLOUD,), sides="none", stages="until OPEN")
def eligibility(facts: Facts) -> Findings:
    """The source is a server that can be encrypted here. `init` and the Pulumi program give the same verdict."""
    source = facts[CLOUD].source
    # Without the key, of which `source-encryption` tells.
    for number, reason in enumerate(reasons(source, facts.outputs.stack) if source is not None else ()):
        yield (warns if reason.passes else blocks)(
            f"{reason.message} {reason.detail}",
            reason.hint,
            facts.words.describe(facts.outputs.source.identifier)
            if reason.passes
            else facts.config(reason.key, reason.instead or "IDENTIFIER"),
            part=str(number) if number else None,
            side="source",
        )


@check(migration, "blocks, ok", reads=(CLOUD,), sides="none", stages="until OPEN")
def source_encryption(facts: Facts) -> Findings:
    """The source is not encrypted under the stack's key. A source that is under another key is encrypted again
    under this one."""
    source = facts[CLOUD].source
    if source is None or not source.encrypted:
        return
    if same_key(source.kms_key_arn, facts.outputs.kms_key_arn):
        yield blocks(
            f"The source is already encrypted under this key: {source.kms_key_arn}.",
            "A source that is not encrypted, or another key for the target.",
            facts.config("kmsKey", "KEY"),
            side="source",
        )
    else:
        yield ok(
            f"The source is encrypted under {source.kms_key_arn or 'a key of the service'}.",
            f"Another key for the target: {facts.outputs.kms_key_arn}.",
            side="source",
        )


@check(migration, "blocks", reads=(CLOUD,), sides="none")
def target_encryption(facts: Facts) -> Findings:
    """The target is encrypted under the stack's key. `StorageEncrypted`, `StorageEncryptionType` (neither `none`
    nor `sse-rds`) and the key itself."""
    target = facts[CLOUD].target
    if target is None or (target.under_kms_key and same_key(target.kms_key_arn, facts.outputs.kms_key_arn)):
        return
    kind = f" (StorageEncryptionType {target.encryption_type})" if target.encryption_type else ""
    yield blocks(
        f"The target is encrypted under another key: {target.kms_key_arn}."
        if target.under_kms_key
        else f"The target is not encrypted under a KMS key{kind}.",
        f"Storage encrypted under {facts.outputs.kms_key_arn}: the key cannot be changed in place.",
        facts.new_attempt,
        side="target",
    )


@check(
    migration, "blocks; warns for a state that passes by itself and for what is pending", reads=(CLOUD,), sides="none"
)
def instance_state(facts: Facts) -> Findings:
    """The instances are available, and nothing is pending. Attaching a parameter group applies pending
    modifications as well; a pending reboot brings parameters with it. The target is not publicly accessible where
    the source is not."""
    for side, instance in _described(facts):
        if not instance.serving:
            transient = instance.overall_status in CHANGING
            yield (warns if transient else blocks)(
                f"{instance.identifier} is {instance.overall_status}.",
                f"An available {facts.words.noun}.",
                facts.words.describe(instance.identifier) if transient else facts.words.events(instance.identifier),
                part="status",
                side=side,
            )
        if instance.pending and facts.stage == Stage.UNPREPARED:
            yield warns(
                f"Modifications wait for the maintenance window: {listed(sorted(instance.pending))}.",
                "None, or to accept them at prepare's reboot: attaching a parameter group at once applies everything "
                "that is pending.",
                f"{facts.words.modify(instance.identifier, '--apply-immediately')}  # or set them back",
                part="pending-modifications",
                side=side,
            )
        if instance.parameter_status == "pending-reboot" and (side == "target" or facts.stage >= Stage.PREPARED):
            yield warns(
                f"Parameters of {instance.parameter_group} wait for a reboot of {instance.identifier}.",
                "To know what the next restart brings, whatever causes it.",
                facts.words.reboot(facts.known(side)),
                part="pending-reboot",
                side=side,
            )
    source, target = facts[CLOUD].source, facts[CLOUD].target
    if source and target and target.public and not source.public:
        public = [m.identifier for m in target.members if m.public] or [target.identifier]
        yield warns(
            "The target is publicly accessible, the source is not.",
            "No wider network access than before.",
            "\n".join(
                f"aws rds modify-db-instance --db-instance-identifier {name} --no-publicly-accessible "
                "--apply-immediately"
                for name in public
            ),
            part="public",
            side="target",
        )


@check(migration, "blocks", reads=(CLOUD,), sides="none", stages="until OPEN")
def parameter_groups(facts: Facts) -> Findings:
    """The stack's parameter groups set `rds.logical_replication` and `track_commit_timestamp`. With
    `parameterGroup: existing` their owner sets them. Without them the next restart switches replication off, or
    fails while a slot exists."""
    for group, parameters in facts[CLOUD].groups.items():
        side = "source" if group == facts.outputs.source_parameter_group else "target"
        if parameters is None:
            yield blocks(
                f"The parameter group {group} does not exist.", "The group of the stack's outputs.", facts.up, side=side
            )
            continue
        needed = ("rds.logical_replication", "track_commit_timestamp")
        lacking = [name for name in needed if parameters.get(name, "").lower() not in ("1", "on", "true")]
        if lacking:
            yield blocks(
                f"The parameter group {group} does not set {' and '.join(lacking)}.",
                "Both set to 1: the next restart switches replication off, or fails while a slot exists.",
                facts.words.set_parameters(group, dict.fromkeys(lacking, 1)),
                side=side,
            )


@check(migration, "warns", reads=(CLOUD,), sides="none", stages="until OPEN")
def read_replicas(facts: Facts) -> Findings:
    """The source has no read replicas. Read replicas do not move: they follow the source and stay unencrypted."""
    source = facts[CLOUD].source
    if source is not None and source.read_replicas:
        yield warns(
            f"Read replicas of the source: {listed(source.read_replicas)}.",
            "Replicas of the target before readers move there: those of the source stay unencrypted and end with it.",
            facts.words.replica,
            side="source",
        )


@check(migration, "warns", reads=(CLOUD,), sides="none", stages="from the restore to OPEN")
def readers(facts: Facts) -> Findings:
    """The target cluster has as many readers as the source. The reader endpoint of the target must carry the same
    load."""
    source, target = facts[CLOUD].source, facts[CLOUD].target
    if source is not None and target is not None and len(target.readers) < len(source.readers):
        yield warns(
            f"The target has {len(target.readers)} readers, the source has {len(source.readers)}.",
            "As many readers before the cutover, where applications use the reader endpoint.",
            f"aws rds create-db-instance --db-cluster-identifier {target.identifier} --engine {target.engine} "
            "--db-instance-class CLASS --db-instance-identifier NAME",
            side="target",
        )
