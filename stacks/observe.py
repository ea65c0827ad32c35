"""Reads everything the program needs into one frozen value, before anything is decided or declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi_aws

from encryptdb.stacks.cloud import prepared_parameter, reads
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.cloud.reads import IngressRule, Parameter, Snapshot
from encryptdb.stacks.cloud.words import CLUSTER, INSTANCE
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import ConfigError
from encryptdb.stacks.contract.names import Names
from encryptdb.stacks.settings import Settings


@dataclass(frozen=True)
class Key:
    """The KMS key the target is to be encrypted under, as `aws.kms.get_key` describes it."""

    arn: str
    enabled: bool
    state: str
    spec: str


@dataclass(frozen=True)
class Place:
    """The provider's region and account."""

    region: str
    account: str


@dataclass(frozen=True)
class Seen:
    """What the program observed.

    `source` is None where it is gone, or where it is not read (`retire`). `targets` are this stack's, by attempt.
    `identifiers` are those of all instances, `cluster_identifiers` those of all clusters: two namespaces of AWS.
    `rules` are those of the link that this stack made, and others between the same two groups. `link_users` are the
    other stacks that replicate over them, read in `retire` only.
    """

    place: Place
    source: Database | None
    targets: Mapping[int, Database]
    snapshot: Snapshot | None
    encrypted: Snapshot | None
    prepared_parameter: PreparedParameter | None
    key: Key | None
    identifiers: frozenset[str] = frozenset()
    cluster_identifiers: frozenset[str] = frozenset()
    source_parameters: tuple[Parameter, ...] | None = None
    own_source_group: tuple[Parameter, ...] | None = None
    own_target_group: tuple[Parameter, ...] | None = None
    own_target_group_tags: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[IngressRule, ...] = ()
    link_users: tuple[str, ...] = ()


def place() -> tuple[Place, Aws]:
    """Where Pulumi's AWS provider works, and AWS for our own reads.

    Raises ConfigError if boto3 uses another account than the provider.
    """
    region = pulumi_aws.get_region().region
    account = pulumi_aws.get_caller_identity().account_id
    aws = Aws(region, pulumi_aws.config.profile)
    if aws.account() != account:
        raise ConfigError(
            "aws:profile",
            f"Pulumi's AWS provider is in account {account}, boto3's default credentials are in {aws.account()}.",
            "Let both find the same credentials: AWS_PROFILE or aws:profile, not keys or roles set for one of them.",
        )
    return Place(region, account), aws


def observe(settings: Settings, aws: Aws, at: Place) -> Seen:
    """Read everything. Raises ConfigError for an unknown KMS key, Failed if AWS is unavailable."""
    called = Names(settings.stack, settings.attempt)
    instances, clusters = reads.standing(aws)
    targets = _targets(settings, (*clusters, *(i for i in instances if i.member_of is None)))
    target = targets.get(settings.attempt)
    # Which of the two the source is may only be known from the snapshot.
    snapshot = _own(settings, reads.snapshot(aws, INSTANCE, called.snapshot)) or _own(
        settings, reads.snapshot(aws, CLUSTER, called.snapshot)
    )
    encrypted = _own(settings, reads.snapshot(aws, INSTANCE, called.encrypted_snapshot))
    prepared = prepared_parameter.read(aws, settings.stack)
    known_as = target.tags if target else snapshot.tags if snapshot else {}
    source = None
    if settings.phase != "retire":
        source = find_source(settings.source, (*clusters, *instances), known_as.get(names.SOURCE_RESOURCE_ID), prepared)
    manage = settings.parameter_group == "manage"
    known = source or target
    words = known.words if known else INSTANCE
    current = source.parameter_group if source else None
    target_group = reads.parameter_group(aws, words, called.target_group) if manage and target else None
    rules = _rules(settings, aws, source, target)
    return Seen(
        place=at,
        source=source,
        targets=targets,
        snapshot=snapshot,
        encrypted=encrypted,
        prepared_parameter=prepared,
        key=None if settings.phase == "retire" else read_key(settings.kms_key, at),
        identifiers=frozenset(i.identifier for i in instances),
        cluster_identifiers=frozenset(c.identifier for c in clusters),
        source_parameters=reads.parameters(aws, words, current) if current and (manage or not target) else None,
        own_source_group=reads.parameters(aws, words, called.source_group) if manage and not current else None,
        own_target_group=reads.parameters(aws, words, called.target_group) if manage and target else None,
        own_target_group_tags=target_group.tags if target_group else {},
        rules=rules,
        link_users=_link_users(settings, aws, rules, (*clusters, *instances)) if settings.phase == "retire" else (),
    )


def find_source(
    identifier: str,
    databases: Sequence[Database],
    resource_id: str | None,
    prepared: PreparedParameter | None,
) -> Database | None:
    """The source among the instances and clusters. Raises ConfigError where the name means one of each.

    Once something was made from it, only its resource id counts: after the cutover its name may be the target's.
    Before that the configured name decides, and the id of the prepared parameter where the source was renamed.
    """
    by_id = {d.resource_id: d for d in databases}
    if resource_id:
        return by_id.get(resource_id)
    named = [d for d in databases if d.identifier == identifier]
    alone = [d for d in named if d.member_of is None]
    if len(alone) > 1:
        raise ConfigError(
            "source",
            f"{identifier} is the name of an RDS instance and of a cluster.",
            "Rename one of the two.",
        )
    # An instance of a cluster is found, too, so that it can be said what it is.
    found = next(iter(alone or named), None)
    return found or (by_id.get(prepared.source_resource_id) if prepared else None)


def read_key(key: str, at: Place) -> Key:
    """The key behind an alias, an id or an ARN. Raises ConfigError naming `encryptdb:kmsKey`.

    Asking for alias/aws/rds makes that key where the account never had one (DescribeKey does).
    """
    parts = key.split(":")
    if parts[0] == "arn" and (len(parts) < 6 or parts[2] != "kms"):
        raise ConfigError("kmsKey", f"{key} is not the ARN of a KMS key.", "Give a key's ARN, its id, or alias/NAME.")
    if parts[0] == "arn" and parts[3] != at.region:
        raise ConfigError(
            "kmsKey",
            f"{key} is in region {parts[3]}, the database in {at.region}.",
            "RDS encrypts only under a key of its own region: name one, or a replica of a multi-Region key.",
        )
    try:
        found = pulumi_aws.kms.get_key(key_id=key)
    except Exception as error:
        raise ConfigError(
            "kmsKey",
            f"AWS describes no key {key} in {at.region}: {error}",
            "Check the spelling (an alias begins with alias/), the region, and the permission kms:DescribeKey.",
        ) from None
    return Key(found.arn, bool(found.enabled), found.key_state or "unknown", found.customer_master_key_spec or "")


def _targets(settings: Settings, databases: Sequence[Database]) -> dict[int, Database]:
    mine = [d for d in databases if d.tags.get(names.STACK) == settings.stack]
    found: dict[int, Database] = {}
    for database in mine:
        attempt = database.tags.get(names.ATTEMPT, "")
        if attempt.isdecimal() and int(attempt) not in found:
            found[int(attempt)] = database
            continue
        raise ConfigError(
            "attempt",
            f"{database.identifier} is tagged as another target of attempt {attempt or '?'} of this stack.",
            f"Take the tags {names.STACK} and {names.ATTEMPT} off what this stack did not make.",
        )
    return found


def _own(settings: Settings, snapshot: Snapshot | None) -> Snapshot | None:
    if snapshot and snapshot.tags.get(names.STACK) != settings.stack:
        raise ConfigError(
            "attempt",
            f"There is a snapshot {snapshot.identifier} already, and it is not this stack's.",
            f"Use another attempt, or delete that snapshot (its tags do not say {names.STACK}={settings.stack}).",
        )
    return snapshot


def _rules(settings: Settings, aws: Aws, source: Database | None, target: Database | None) -> tuple[IngressRule, ...]:
    if settings.link == "existing":
        return ()
    own = reads.ingress(aws, {f"tag:{names.STACK}": [settings.stack]})
    if source is None or not source.security_groups:
        return own
    groups = {*source.security_groups, *(settings.overrides.security_groups or ())}
    if target:
        groups |= {*target.security_groups}
    others = reads.ingress(aws, {"group-id": groups})
    return own + tuple(r for r in others if r.identifier not in {o.identifier for o in own})


def _link_users(
    settings: Settings, aws: Aws, rules: Sequence[IngressRule], databases: Sequence[Database]
) -> tuple[str, ...]:
    """The other stacks whose target is in a group of these rules, and whose replication has not been taken down: AWS
    takes one rule once, so what one stack made serves all databases of the same two groups."""
    groups = {g for rule in rules for g in (rule.group, rule.referenced)}
    near = {d.tags.get(names.STACK, "") for d in databases if groups & {*d.security_groups}} - {"", settings.stack}
    return tuple(stack for stack in sorted(near) if prepared_parameter.read(aws, stack))
