"""Why there is no plan. Pure: each looks at what was configured and seen, and raises where the two do not fit."""

from encryptdb.stacks.cloud.database import Cluster, Database, Instance
from encryptdb.stacks.contract import names
from encryptdb.stacks.errors import ConfigError, NotYet
from encryptdb.stacks.members import Member
from encryptdb.stacks.observe import Seen
from encryptdb.stacks.settings import Settings

SYMMETRIC = ("", "SYMMETRIC_DEFAULT")


def refuse_going_back(settings: Settings, seen: Seen, target: Database | None) -> None:
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
    if phase == "retire" and seen.prepared_parameter and seen.prepared_parameter.attempt == attempt:
        raise NotYet(
            "encryptdb:phase: retire takes the network link away, and replication still runs over it.",
            f"Run `python -m controller retire --stack {settings.stack}` first (or `abandon`).",
        )


def refuse_source(settings: Settings, seen: Seen, source: Database) -> None:
    """The source is one that can be encrypted here."""
    if isinstance(source, Instance):
        _refuse_instance(source)
    elif isinstance(source, Cluster):
        _refuse_cluster(settings, source)
    other = next((t for t in seen.targets.values() if isinstance(t, Cluster) != isinstance(source, Cluster)), None)
    if other:
        raise ConfigError(
            "source",
            f"{_kind(source)} {source.identifier}, and this stack has made {_kind(other)} {other.identifier}: "
            "the LSNs of RDS and of Aurora have nothing in common, so neither can become the other.",
            "Use a stack of its own for each source.",
        )
    if source.tags.get(names.STACK) == settings.stack:
        raise ConfigError(
            "source",
            f"{source.identifier} is this stack's own target (attempt {source.tags.get(names.ATTEMPT)}).",
            "Name what is to be encrypted. To encrypt a target once more, under another key, use a stack of its own.",
        )
    if settings.overrides.publicly_accessible and not source.public:
        raise ConfigError(
            "publiclyAccessible",
            f"it says true, but {source.identifier} is not publicly accessible (all of it).",
            "The copy is never more open than its source: leave the key out.",
        )


def _kind(database: Database) -> str:
    return "the Aurora cluster" if isinstance(database, Cluster) else "the RDS instance"


def _refuse_instance(source: Instance) -> None:
    if source.cluster:
        raise ConfigError(
            "source",
            f"{source.identifier} is an instance of the cluster {source.cluster}: storage, and with it encryption, "
            "is the cluster's.",
            f"Set source to {source.cluster}.",
        )
    if source.engine != "postgres":
        raise ConfigError(
            "source",
            f"{source.identifier} runs {source.engine}.",
            "Name an RDS for PostgreSQL instance, or an Aurora PostgreSQL cluster.",
        )


def _refuse_cluster(settings: Settings, source: Cluster) -> None:
    def refuse(what: str, hint: str, key: str = "source") -> ConfigError:
        return ConfigError(key, what, hint)

    if source.engine == "postgres":
        raise refuse(
            f"{source.identifier} is a Multi-AZ DB cluster (engine postgres), not an Aurora cluster.",
            "Only RDS instances and Aurora clusters can be encrypted here: restore it to an RDS instance first.",
        )
    if source.engine != "aurora-postgresql":
        raise refuse(
            f"{source.identifier} runs {source.engine}.",
            "Name an RDS for PostgreSQL instance, or an Aurora PostgreSQL cluster.",
        )
    if source.global_cluster or source.engine_mode == "global":
        raise refuse(
            f"{source.identifier} belongs to a Global Database ({source.global_cluster or 'AWS does not name it'}): "
            "its secondaries would stay behind, unencrypted.",
            "Take it out of the Global Database first (RemoveFromGlobalCluster), and build a new one from the target.",
        )
    if source.engine_mode != "provisioned":
        raise refuse(
            f"{source.identifier} is Serverless v1 (EngineMode {source.engine_mode}): it has no instances of its own, "
            "and no logical replication to rely on.",
            "Convert it to provisioned or Serverless v2 first.",
        )
    if source.scalability == "limitless":
        raise refuse(
            f"{source.identifier} is an Aurora Limitless Database (ClusterScalabilityType limitless): its data is in "
            "many shards, each with a log of its own.",
            "It cannot be encrypted this way.",
        )
    if source.replicates:
        instance = ":db:" in source.replicates
        raise refuse(
            f"{source.identifier} replicates {'the RDS instance ' if instance else ''}{source.replicates}: a replica "
            "has no writer" + (", and the LSNs of RDS and of Aurora have nothing in common." if instance else "."),
            "Promote it to a cluster of its own first, and send its applications there.",
        )
    if not source.members:
        raise refuse(
            f"{source.identifier} has no instance, so that nothing can be read from it.", "Add an instance to it first."
        )
    if settings.overrides.multi_az is not None:
        raise refuse(
            f"it says {str(settings.overrides.multi_az).lower()}, and {source.identifier} is a cluster: the target "
            "gets as many readers as it has.",
            "Leave the key out.",
            "multiAz",
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
            kind = "db-cluster-snapshot" if ":cluster-snapshot:" in snapshot.arn else "db-snapshot"
            raise NotYet(
                f"The snapshot {snapshot.identifier} has failed, and nothing can be restored from it.",
                f"Run `aws rds delete-{kind} --{kind}-identifier {snapshot.identifier}`, "
                "then `pulumi refresh --yes`, then this again.",
            )


def require_prepared(settings: Settings, seen: Seen, source: Database) -> None:
    """`controller prepare` has finished with this source, for this attempt."""
    run = f"Run `python -m controller prepare --stack {settings.stack}`, then this again."
    if seen.prepared_parameter is None:
        raise NotYet(
            f"The source {source.identifier} is not prepared: a snapshot taken now would have no slot to go on from.",
            run,
        )
    if seen.prepared_parameter.source_resource_id != source.resource_id:
        raise NotYet(
            f"Prepared was another server ({seen.prepared_parameter.source_resource_id}); {source.identifier} is "
            f"{source.resource_id}.",
            run,
        )
    if seen.prepared_parameter.attempt != settings.attempt:
        raise NotYet(
            f"Prepared was attempt {seen.prepared_parameter.attempt}; this is attempt {settings.attempt}.", run
        )


def refuse_taken_name(settings: Settings, seen: Seen, wanted: str, target: Database | None) -> None:
    """Nobody else has the target's name."""
    if target and (target.identifier == wanted or not settings.overrides.target_identifier):
        return
    of_cluster = isinstance(target or seen.source, Cluster)
    if target and of_cluster:
        raise ConfigError(
            "targetIdentifier",
            f"it says {wanted}, but attempt {settings.attempt}'s target is {target.identifier}: for Pulumi a cluster "
            "is its name, and another one would mean another cluster.",
            f"Leave the key out, or set it to {target.identifier}.",
        )
    same, other = seen.identifiers, seen.cluster_identifiers
    if of_cluster:
        same, other = other, same
    if wanted in same:
        raise ConfigError(
            "targetIdentifier",
            f"there is {'a cluster' if of_cluster else 'an instance'} {wanted} already, and it is not attempt "
            f"{settings.attempt}'s target.",
            "Name the target otherwise, or free that name first.",
        )
    if wanted in other:
        source, target_kind = ("Aurora", "RDS instance") if of_cluster else ("RDS", "cluster")
        raise ConfigError(
            "targetIdentifier",
            f"{wanted} is an existing {target_kind}, and {settings.source} is {source}: their LSNs have nothing in "
            "common, so the one cannot become the other. The target is always made anew.",
            "Give the target a name of its own, or leave the key out.",
        )


def refuse_new_subnets(settings: Settings, target: Database | None) -> None:
    """A cluster cannot be moved to another subnet group, only made anew there."""
    asked = settings.overrides.subnet_group
    if isinstance(target, Cluster) and asked and target.subnet_group and asked != target.subnet_group:
        raise ConfigError(
            "subnetGroup",
            f"it says {asked}, but attempt {settings.attempt}'s target {target.identifier} is in "
            f"{target.subnet_group}, and a cluster cannot be moved.",
            f"Leave the key out, or set it to {target.subnet_group}; another group needs another attempt.",
        )


def refuse_taken_members(seen: Seen, members: tuple[Member, ...], target: Database | None) -> None:
    """Nobody else has the name of an instance of the target cluster, and RDS accepts each."""
    standing = {m.identifier for m in target.members} if isinstance(target, Cluster) else set()
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
