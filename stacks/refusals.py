"""Why there is no plan: each raises if the configuration does not fit what was observed. Pure."""

from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.eligibility import ineligible
from encryptdb.stacks.cloud.words import CLUSTER, INSTANCE
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import ConfigError, NotYet
from encryptdb.stacks.members import Member
from encryptdb.stacks.observe import Seen
from encryptdb.stacks.settings import Settings

SYMMETRIC = ("", "SYMMETRIC_DEFAULT")


def _set(settings: Settings, key: str, value: object) -> str:
    return f"pulumi config set encryptdb:{key} {value} --stack {settings.stack}"


def refuse_going_back(settings: Settings, seen: Seen, target: Database | None) -> None:
    """Phases and attempts only go forward, one by one."""
    attempt, phase = settings.attempt, settings.phase
    later = [n for n in seen.targets if n > attempt]
    if later:
        raise ConfigError(
            "attempt",
            f"it says {attempt}, but attempt {max(later)} has a target ({seen.targets[max(later)].identifier}).",
            f"Attempts only count up: {_set(settings, 'attempt', max(later))}",
        )
    if phase == "prepare" and (seen.snapshot or target):
        made = f"target {target.identifier}" if target else f"snapshot {seen.snapshot and seen.snapshot.identifier}"
        raise ConfigError(
            "phase",
            f"prepare would go back: attempt {attempt} has its {made} already.",
            f"{_set(settings, 'phase', 'restore')} (for a new attempt, also: {_set(settings, 'attempt', attempt + 1)})",
        )
    if phase == "restore" and target and not seen.snapshot:
        raise ConfigError(
            "phase",
            f"restore would go back: attempt {attempt} has its target {target.identifier}, and its snapshot is gone.",
            f"{_set(settings, 'phase', 'retire')} (for a new attempt: {_set(settings, 'attempt', attempt + 1)} && "
            f"{_set(settings, 'phase', 'prepare')})",
        )
    if phase == "retire" and not target:
        raise ConfigError(
            "phase",
            f"retire comes after restore: attempt {attempt} has no target.",
            f"{_set(settings, 'phase', 'restore')} (prepare, if the source is not prepared)",
        )
    if phase == "retire" and seen.prepared_parameter and seen.prepared_parameter.attempt == attempt:
        raise NotYet(
            "encryptdb:phase: retire removes the network link, which replication still uses.",
            hint=f"encryptdb retire --stack {settings.stack} (or abandon)",
        )


def refuse_source(settings: Settings, seen: Seen, source: Database, target: Database | None) -> None:
    """The source can be encrypted. Raises NotYet while it is being created."""
    key = None if target or seen.key is None else seen.key.arn
    found = ineligible(source, settings.stack, key)
    if found:
        message = f"{found.message} {found.detail}"
        if found.passes:
            raise NotYet(message, hint=f"{found.hint} Then: pulumi up --stack {settings.stack}")
        command = _set(settings, "source", found.instead) if found.instead else ""
        raise ConfigError(found.key, message, f"{found.hint} {command}".strip())
    other = next((t for t in seen.targets.values() if t.words is not source.words), None)
    if other:
        raise ConfigError(
            "source",
            f"{source.words.what} {source.identifier}, and this stack has made {other.words.what} "
            f"{other.identifier}: the LSNs of RDS and of Aurora have nothing in common, so neither can become the "
            "other.",
            "Use a stack of its own for each source.",
        )
    if settings.overrides.publicly_accessible and not source.wholly_public:
        raise ConfigError(
            "publiclyAccessible",
            f"it says true, but {source.identifier} is not publicly accessible (all of it).",
            "The copy is never more open than its source: leave the key out.",
        )
    if settings.overrides.multi_az is not None and source.words is CLUSTER:
        raise ConfigError(
            "multiAz",
            f"it says {str(settings.overrides.multi_az).lower()}, and {source.identifier} is a cluster: the target "
            "gets as many readers as it has.",
            "Leave the key out.",
        )


def key_of(settings: Settings, seen: Seen, target: Database | None) -> str:
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
    return seen.key.arn


def refuse_failed(settings: Settings, seen: Seen) -> None:
    """No snapshot or copy has failed: nothing can be restored from a failed one."""
    for snapshot in (seen.snapshot, seen.encrypted):
        if snapshot and snapshot.status == "failed":
            words = CLUSTER if ":cluster-snapshot:" in snapshot.arn else INSTANCE
            raise NotYet(
                f"The snapshot {snapshot.identifier} has failed, and nothing can be restored from it.",
                hint=f"{words.delete_snapshot(snapshot.identifier)} && pulumi refresh --yes --stack {settings.stack} "
                f"&& pulumi up --stack {settings.stack}",
            )


def refuse_unsuited_group(settings: Settings, seen: Seen) -> None:
    """An owner's group (`existing`), which the copy is restored with, sets track_commit_timestamp: a copy that is
    started once without it has lost the commit timestamps that prove the exact LSN."""
    if settings.parameter_group != "existing" or seen.source is None or seen.source_parameters is None:
        return
    group = seen.source.parameter_group
    if not any(p.name == "track_commit_timestamp" and p.value in ("1", "on") for p in seen.source_parameters):
        raise ConfigError(
            "parameterGroup",
            f"existing, and {group} does not set track_commit_timestamp: a copy restored with it could not be joined.",
            f"Set track_commit_timestamp to 1 in {group}, or set parameterGroup to manage.",
        )


def require_prepared(settings: Settings, seen: Seen, source: Database) -> None:
    """`prepare` has completed on this source, for this attempt."""
    run = f"encryptdb prepare --stack {settings.stack} && pulumi up --stack {settings.stack}"
    if seen.prepared_parameter is None:
        raise NotYet(
            f"The source {source.identifier} is not prepared: no slot would match a snapshot taken now.",
            hint=run,
        )
    if seen.prepared_parameter.source_resource_id != source.resource_id:
        raise NotYet(
            f"prepare ran on another server ({seen.prepared_parameter.source_resource_id}); {source.identifier} is "
            f"{source.resource_id}.",
            hint=run,
        )
    if seen.prepared_parameter.attempt != settings.attempt:
        raise NotYet(
            f"prepare ran for attempt {seen.prepared_parameter.attempt}; this is attempt {settings.attempt}.", hint=run
        )


def refuse_taken_name(settings: Settings, seen: Seen, wanted: str, target: Database | None) -> None:
    """Nobody else has the target's name."""
    if target and (target.identifier == wanted or not settings.overrides.target_identifier):
        return
    known = target or seen.source
    words = known.words if known else INSTANCE
    if target and words is CLUSTER:
        raise ConfigError(
            "targetIdentifier",
            f"it says {wanted}, but attempt {settings.attempt}'s target is {target.identifier}: for Pulumi a cluster "
            "is its name, and another one would mean another cluster.",
            f"Leave the key out, or set it to {target.identifier}.",
        )
    same, other = seen.identifiers, seen.cluster_identifiers
    if words is CLUSTER:
        same, other = other, same
    if wanted in same:
        raise ConfigError(
            "targetIdentifier",
            f"there is {'a cluster' if words is CLUSTER else 'an instance'} {wanted} already, and it is not attempt "
            f"{settings.attempt}'s target.",
            "Name the target otherwise, or free that name first.",
        )
    if wanted in other:
        raise ConfigError(
            "targetIdentifier",
            f"{wanted} is an existing {'RDS instance' if words is CLUSTER else 'cluster'}, and {settings.source} is "
            f"{words.what}: their LSNs have nothing in common, so the one cannot become the other. The target is "
            "always made anew.",
            "Give the target a name of its own, or leave the key out.",
        )


def refuse_new_subnets(settings: Settings, target: Database | None) -> None:
    """A cluster cannot be moved to another subnet group, only made anew there."""
    asked = settings.overrides.subnet_group
    if target and target.words is CLUSTER and asked and target.subnet_group and asked != target.subnet_group:
        raise ConfigError(
            "subnetGroup",
            f"it says {asked}, but attempt {settings.attempt}'s target {target.identifier} is in "
            f"{target.subnet_group}, and a cluster cannot be moved.",
            f"Leave the key out, or set it to {target.subnet_group}; another group needs another attempt.",
        )


def refuse_taken_members(seen: Seen, members: tuple[Member, ...], target: Database | None) -> None:
    """Nobody else has the name of an instance of the target cluster, and RDS accepts each."""
    standing = {m.identifier for m in target.members} if target else set()
    for member in members:
        if len(member.identifier) > names.IDENTIFIER_LENGTH:
            raise ConfigError(
                "targetIdentifier",
                f"{member.identifier}, an instance of the target, would be longer than {names.IDENTIFIER_LENGTH} "
                "characters.",
                "Give the target a shorter name.",
            )
        if member.identifier in seen.identifiers and member.identifier not in standing:
            raise ConfigError(
                "targetIdentifier",
                f"there is an instance {member.identifier} already, and it is not in the target cluster.",
                "Name the target otherwise, or free that name first.",
            )
