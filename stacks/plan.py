"""Decides what the program declares. Pure: `Settings` and `Seen` in, a `Plan` or a refusal out.

Whether a phase has been reached is read from AWS, not from Pulumi's state, which a program cannot see: this attempt's
snapshot and target carry the stack's name and the attempt in their tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from encryptdb.stacks import parameters
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.reads import IngressRule
from encryptdb.stacks.cloud.words import CLUSTER
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import ConfigError
from encryptdb.stacks.contract.names import Names
from encryptdb.stacks.contract.outputs import Engine, Side
from encryptdb.stacks.members import Member, members_of
from encryptdb.stacks.observe import Place, Seen
from encryptdb.stacks.parameters import Setting
from encryptdb.stacks.refusals import (
    key_of,
    refuse_failed,
    refuse_going_back,
    refuse_new_subnets,
    refuse_source,
    refuse_taken_members,
    refuse_taken_name,
    refuse_unsuited_group,
    require_prepared,
)
from encryptdb.stacks.settings import Settings


@dataclass(frozen=True)
class Group:
    """A parameter group to declare."""

    name: str
    family: str
    settings: tuple[Setting, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Link:
    """One rule of the network link. `as_it_is`: it stands, and nothing is known that could change it."""

    name: str
    group: str
    referenced: str
    port: int
    as_it_is: bool = False


@dataclass(frozen=True)
class Plan:
    """What to declare. `template` is where the target's settings come from: itself, once it is there, else the source.

    `identifier` is the target's; `members` are the instances of a target that is a cluster, in the order in which they
    are made. `earlier` are the targets of earlier attempts, by attempt, that their owner has not deleted yet.
    """

    settings: Settings
    called: Names
    place: Place
    source: Side
    engine: Engine
    template: Database
    target: Database | None
    identifier: str
    members: tuple[Member, ...]
    iam_authentication: bool
    earlier: Mapping[int, Database]
    source_group: Group | None
    target_group: Group | None
    link: tuple[Link, ...]
    snapshot: bool
    restored: bool
    kms_key_arn: str
    tags: Mapping[str, str]


def decide(settings: Settings, seen: Seen) -> Plan:
    """The plan for this phase and attempt. Raises ConfigError, NotYet or Refused where there is none."""
    called = Names(settings.stack, settings.attempt)
    target = seen.targets.get(settings.attempt)
    refuse_going_back(settings, seen, target)
    source = seen.source
    # A target that is still being created does not have all settings yet.
    template = target if target and (target.complete or source is None) else source
    if template is None:
        raise ConfigError(
            "source",
            f"there is no RDS instance or Aurora cluster {settings.source} in {seen.place.region} "
            f"(account {seen.place.account}).",
            "Check the identifier, the region (aws:region) and the account.",
        )
    if source:
        refuse_source(settings, seen, source, target)
    kms_key_arn = key_of(settings, seen, target)
    if settings.phase == "restore" and not target:
        refuse_failed(settings, seen)
        refuse_unsuited_group(settings, seen)
    if settings.phase == "restore" and not seen.snapshot and source:
        require_prepared(settings, seen, source)
    identifier = target_identifier(settings, called, source, target)
    refuse_taken_name(settings, seen, identifier, target)
    members = members_of(identifier, source, target)
    refuse_taken_members(seen, members, target)
    refuse_new_subnets(settings, target)
    side = _source_side(settings, source, target)
    source_group, target_group = _groups(settings, seen, called, template)
    return Plan(
        settings=settings,
        called=called,
        place=seen.place,
        source=side,
        engine=cast(Engine, template.engine),
        template=template,
        target=target,
        identifier=identifier,
        members=members,
        iam_authentication=iam_authentication(source, target, template),
        earlier={n: i for n, i in sorted(seen.targets.items()) if n < settings.attempt},
        source_group=source_group,
        target_group=target_group,
        link=_link(settings, seen, template),
        snapshot=settings.phase == "restore",
        restored=settings.phase in ("restore", "retire"),
        kms_key_arn=kms_key_arn,
        tags={
            **called.tags(),
            names.SOURCE: side.identifier,
            names.SOURCE_RESOURCE_ID: side.resource_id,
            names.SOURCE_PORT: str(side.port),
        },
    )


def target_identifier(settings: Settings, called: Names, source: Database | None, target: Database | None) -> str:
    """What the target is called. A cluster keeps the name that it has: it has no other one in Pulumi's state."""
    if settings.overrides.target_identifier:
        return settings.overrides.target_identifier
    if target and target.words is CLUSTER:
        return target.identifier
    known = target.tags.get(names.SOURCE) if target else None
    room = names.MEMBER_ROOM if source and source.members else 0
    return called.target(source.identifier if source else known or settings.source, room)


def iam_authentication(source: Database | None, target: Database | None, template: Database) -> bool:
    """Whether the target is to have IAM authentication: as its source had when the target was made.

    The Terraform provider does not pass it on when it restores a cluster, but only with the next `up`
    (hashicorp/terraform-provider-aws#35189). So a cluster that is there does not tell; its tag does.
    """
    told = target.tags.get(names.IAM) if target else None
    return told == "true" if told else (source or template).iam_authentication


def _source_side(settings: Settings, source: Database | None, target: Database | None) -> Side:
    if source:
        return Side(
            identifier=source.identifier,
            resource_id=source.resource_id,
            host=source.host,
            port=source.port,
            secret_arn=settings.source_secret,
            reader_host=source.reader_host,
            members=tuple(m.identifier for m in source.members) or None,
        )
    known = target.tags if target else {}
    port = known.get(names.SOURCE_PORT, "")
    return Side(
        identifier=known.get(names.SOURCE, settings.source),
        resource_id=known.get(names.SOURCE_RESOURCE_ID, ""),
        host=None,
        port=int(port) if port.isdecimal() else 5432,
        secret_arn=settings.source_secret,
    )


def _groups(settings: Settings, seen: Seen, called: Names, template: Database) -> tuple[Group | None, Group | None]:
    if settings.parameter_group == "existing":
        return None, None
    tags = {names.STACK: settings.stack}
    if seen.source_parameters is not None:
        on_source = parameters.for_source(seen.source_parameters)
    else:
        on_source = parameters.as_it_is(seen.own_source_group or ())
    target_tags = dict(tags)
    if seen.own_target_group is None:
        on_target, quieted = parameters.for_target(on_source), parameters.to_tag(parameters.quieted(on_source))
    else:
        quieted = seen.own_target_group_tags.get(names.QUIETED, "")
        back = parameters.from_tag(quieted) if settings.phase == "retire" else {}
        on_target = parameters.as_it_is(seen.own_target_group, back)
    if quieted:
        target_tags[names.QUIETED] = quieted
    families = [parameters.family(d.engine, d.engine_version) for d in (seen.source or template, template)]
    return (
        Group(called.source_group, families[0], on_source, tags),
        Group(called.target_group, families[1], on_target, target_tags),
    )


def _link(settings: Settings, seen: Seen, template: Database) -> tuple[Link, ...]:
    """Ingress both ways. A group does not let its own members in, so one shared group needs a rule, too.

    In `retire` it goes, unless another stack replicates over it; then it goes with a later `up`.
    """
    if settings.link == "existing" or (settings.phase == "retire" and not seen.link_users):
        return ()
    own = {r.tags[names.LINK]: r for r in seen.rules if _is_own(r, settings.stack)}
    if seen.source is None:
        return tuple(Link(n, r.group, r.referenced, r.from_port, as_it_is=True) for n, r in sorted(own.items()))
    chosen = settings.overrides.security_groups if template is seen.source else None
    to_source, to_target = seen.source.security_groups, chosen or template.security_groups
    if not to_source or not to_target:
        return ()
    wanted = [
        Link("link-to-source", to_source[0], to_target[0], seen.source.port),
        Link("link-to-target", to_target[0], to_source[0], template.port),
    ]
    if (wanted[0].group, wanted[0].referenced, wanted[0].port) == (
        wanted[1].group,
        wanted[1].referenced,
        wanted[1].port,
    ):
        wanted.pop()
    # AWS refuses a rule that stands already; where the owner made it, there is nothing left to declare.
    standing = {(r.group, r.referenced, r.from_port, r.to_port) for r in seen.rules if not _is_own(r, settings.stack)}
    return tuple(w for w in wanted if (w.group, w.referenced, w.port, w.port) not in standing)


def _is_own(rule: IngressRule, stack: str) -> bool:
    return rule.tags.get(names.STACK) == stack and names.LINK in rule.tags
