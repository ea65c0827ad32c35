"""Why there is no plan. Pure: each looks at what was configured and seen, and raises where the two do not fit."""

from stacks import names
from stacks.errors import ConfigError, NotYet
from stacks.facts import Instance
from stacks.names import Names
from stacks.observe import Seen
from stacks.settings import Settings

SYMMETRIC = ("", "SYMMETRIC_DEFAULT")


def refuse_going_back(settings: Settings, seen: Seen, target: Instance | None) -> None:
    """Phases and attempts only go forward, and none is left out."""
    attempt, phase = settings.attempt, settings.phase
    later = [n for n in seen.targets if n > attempt]
    if later:
        raise ConfigError(
            "attempt",
            f"it says {attempt}, but attempt {max(later)} has a target ({seen.targets[max(later)].identifier}).",
            f"Attempts only count up: set it to {max(later)}.",
        )
    if phase == "prepare" and (seen.snapshot or target):
        made = f"target {target.identifier}" if target else f"snapshot {seen.snapshot and seen.snapshot.identifier}"
        raise ConfigError(
            "phase",
            f"prepare would go back: attempt {attempt} has its {made} already.",
            f"Set phase to restore; to begin again, set attempt to {attempt + 1} as well.",
        )
    if phase == "restore" and target and not seen.snapshot:
        raise ConfigError(
            "phase",
            f"restore would go back: attempt {attempt} has its target {target.identifier}, and its snapshot is gone.",
            f"Set phase to retire; to begin again, set attempt to {attempt + 1} and phase to prepare.",
        )
    if phase == "retire" and not target:
        raise ConfigError(
            "phase",
            f"retire comes after restore: attempt {attempt} has no target.",
            "Set phase to restore (or to prepare, where the source is not prepared yet).",
        )
    if phase == "retire" and seen.mark and seen.mark.attempt == attempt:
        raise NotYet(
            "encryptdb:phase: retire takes the network link away, and replication still runs over it.",
            f"Run `python -m controller retire --stack {settings.stack}` first (or `abandon`).",
        )


def refuse_source(settings: Settings, seen: Seen, source: Instance) -> None:
    """The source is one that can be encrypted here."""
    if source.engine != "postgres":
        raise ConfigError(
            "source",
            f"{source.identifier} runs {source.engine}, which is not yet supported here.",
            "Only RDS for PostgreSQL is, so far.",
        )
    if source.tags.get(names.STACK) == settings.stack:
        raise ConfigError(
            "source",
            f"{source.identifier} is this stack's own target (attempt {source.tags.get(names.ATTEMPT)}).",
            "Name the instance to encrypt. To encrypt a target once more, under another key, use a stack of its own.",
        )
    if settings.overrides.publicly_accessible and not source.publicly_accessible:
        raise ConfigError(
            "publiclyAccessible",
            f"it says true, but {source.identifier} is not publicly accessible.",
            "The copy is never more open than its source: leave the key out.",
        )


def key_of(settings: Settings, seen: Seen, target: Instance | None) -> str:
    """The ARN of the key that the target is, or is going to be, encrypted under."""
    actual = target.kms_key_arn if target else seen.encrypted.kms_key_arn if seen.encrypted else None
    if seen.key is None:
        return actual or ""
    if actual and actual != seen.key.arn:
        raise ConfigError(
            "kmsKey",
            f"it means {seen.key.arn}, but attempt {settings.attempt} is encrypted under {actual}.",
            f"Set kmsKey to that key's ARN (an alias may have been moved), or attempt to {settings.attempt + 1}.",
        )
    if not seen.key.enabled:
        raise ConfigError(
            "kmsKey", f"{seen.key.arn} cannot be used: it is {seen.key.state}.", "Enable the key, or name another one."
        )
    if seen.key.spec not in SYMMETRIC:
        raise ConfigError(
            "kmsKey", f"{seen.key.arn} is a key of kind {seen.key.spec}.", "RDS takes symmetric encryption keys only."
        )
    if seen.source and seen.source.encrypted and not target and seen.source.kms_key_arn == seen.key.arn:
        raise ConfigError(
            "kmsKey",
            f"{seen.source.identifier} is encrypted under {seen.key.arn} already.",
            "Name the key that it is to be encrypted under instead.",
        )
    return seen.key.arn


def refuse_failed(seen: Seen) -> None:
    """AWS has not failed at a snapshot or a copy. Neither comes right by itself, and nothing can be made from it."""
    for snapshot in (seen.snapshot, seen.encrypted):
        if snapshot and snapshot.status == "failed":
            raise NotYet(
                f"The snapshot {snapshot.identifier} has failed, and nothing can be restored from it.",
                f"Run `aws rds delete-db-snapshot --db-snapshot-identifier {snapshot.identifier}`, "
                "then `pulumi refresh --yes`, then this again.",
            )


def require_prepared(settings: Settings, seen: Seen, source: Instance) -> None:
    """`controller prepare` has finished with this source, for this attempt."""
    run = f"Run `python -m controller prepare --stack {settings.stack}`, then this again."
    if seen.mark is None:
        raise NotYet(
            f"The source {source.identifier} is not prepared: a snapshot taken now would have no slot to go on from.",
            run,
        )
    if seen.mark.source_resource_id != source.resource_id:
        raise NotYet(
            f"Prepared was another server ({seen.mark.source_resource_id}); {source.identifier} is "
            f"{source.resource_id}.",
            run,
        )
    if seen.mark.attempt != settings.attempt:
        raise NotYet(f"Prepared was attempt {seen.mark.attempt}; this is attempt {settings.attempt}.", run)


def refuse_taken_name(settings: Settings, seen: Seen, called: Names, target: Instance | None) -> None:
    """Nobody else has the target's name."""
    asked = settings.overrides.target_identifier
    wanted = asked or called.target(seen.source.identifier if seen.source else settings.source)
    if wanted in seen.identifiers and not (target and (target.identifier == wanted or not asked)):
        raise ConfigError(
            "targetIdentifier",
            f"there is an instance {wanted} already, and it is not attempt {settings.attempt}'s target.",
            "Name the target otherwise, or free that name first.",
        )
