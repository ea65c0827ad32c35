"""The contents of a new stack's file, decided from what was found. Pure: `Found` in, `Proposal` out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.init.found import Found
from encryptdb.controller.init.references import Record, SecretKey, Unread
from encryptdb.controller.switches.route53 import LOW_TTL
from encryptdb.controller.switches.secretsmanager import managed_by
from encryptdb.stacks.cloud.database import Database

MOST_ALIASES = 8
"""The most keys that the file lists, which keeps it short."""

UNSEEN = (
    ("PgBouncer and other poolers", "They are not in AWS's API; each is a switch `pgbouncer` or `command`."),
    (
        "programs, jobs and people that have the host in settings of their own",
        "Environment variables, SSM parameters, files: the fence refuses them until they have the new host.",
    ),
    ("DNS outside of this account's Route 53", "A record there is a switch `command`, or changed by hand."),
)
"""What AWS's API cannot show: (what, why)."""


@dataclass(frozen=True)
class Switch:
    """One switch: its configuration, why it is proposed, and warnings about it."""

    document: Mapping[str, Any]
    why: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """The encryption key: the file's value (None: the owner must name one), why, and the alternatives."""

    value: str | None
    why: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """Everything that does not follow from the source itself."""

    key: Key
    switches: tuple[Switch, ...]
    by_hand: tuple[str, ...]
    """What points to the source and no switch can change."""
    login: str
    groups: str
    auth: str
    unseen: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    """What the owner should know before continuing."""


def propose(found: Found) -> Proposal:
    """The contents of this stack's file."""
    key = _key(found)
    switches = (*_secrets(found), *_records(found), *_proxies(found))
    by_hand = tuple(_by_hand(found))
    login, groups, auth = _login(found.source), _groups(found), _auth(found.source)
    noted = [
        *(() if key.value else key.why[:2]),
        *(warning for switch in switches for warning in switch.warnings),
        *by_hand,
        *((login,) if found.source.master_secret else ()),
        *((groups,) if found.holder else ()),
    ]
    return Proposal(key, switches, by_hand, login, groups, auth, _unseen(found), tuple(dict.fromkeys(noted)))


def _key(found: Found) -> Key:
    source, aliases = found.source, found.aliases
    present = (source.kms_key_arn or "").rpartition("/")[2]
    own = [a.name for a in aliases or () if not a.name.startswith("alias/aws/") and a.key_id != present]
    why = []
    if source.encrypted:
        called = [a.name for a in aliases or () if a.key_id == present]
        under = f"{source.kms_key_arn}{f' ({called[0]})' if called else ''}" if present else "a key that AWS owns"
        why.append(f"{source.identifier} is encrypted already, under {under}. Name the new key.")
        if "alias/aws/rds" in called:
            why.append("The default is alias/aws/rds again, which is refused.")
        else:
            why.append("The default is alias/aws/rds.")
    else:
        why.append(
            "The key of the encrypted copy. alias/aws/rds is AWS's own; a snapshot under it cannot be shared with "
            "another account."
        )
    if aliases is None:
        why.append("The keys of the region could not be listed (below). Give an alias, a key id or an ARN.")
    elif not own:
        why.append("There is no alias of another customer managed key in this region.")
    else:
        more = len(own) - MOST_ALIASES
        kind = "Other customer managed keys" if source.encrypted and called else "Customer managed keys"
        why.append(f"{kind} of this region:" if more <= 0 else f"{kind} of this region, {MOST_ALIASES} of {len(own)}:")
    return Key(None if source.encrypted else "alias/aws/rds", tuple(why), tuple(own[:MOST_ALIASES]))


def _secrets(found: Found) -> Iterator[Switch]:
    for secret in found.secrets:
        if _movable(secret, found.source):
            keys = {"host": secret.key} | ({"port": secret.port_key} if secret.port_key else {})
            document = {"kind": "secretsmanager", "secretId": secret.secret, "keys": keys}
            why = f"The secret {secret.secret} has the host in its key {secret.key}."
            rotated = f"{secret.secret} has rotation enabled: disable it until retire, or the cutover is refused."
            yield Switch(document, why, (rotated,) if secret.rotated else ())


def _movable(secret: SecretKey, source: Database) -> bool:
    managed = managed_by(secret.secret, secret.owner)
    return secret.whole and secret.key is not None and secret.host == source.host and not managed


def _records(found: Found) -> Iterator[Switch]:
    zones: dict[str, list[Record]] = {}
    for record in found.records:
        if record.plain and record.host == found.source.host:
            zones.setdefault(record.zone, []).append(record)
    for zone, records in zones.items():
        kind = "private " if records[0].private else ""
        names = [r.name for r in records]
        why = f"The {kind}hosted zone {records[0].zone_name} names the host in {', '.join(names)}."
        slow = ", ".join(f"{r.name} {r.ttl} s" for r in records if (r.ttl or 0) > LOW_TTL)
        low = f"TTL of {slow}: lower it to {LOW_TTL} s before the cutover; clients follow when it has passed."
        document = {"kind": "route53", "hostedZoneId": zone, "records": names}
        yield Switch(document, why, (low,) if slow else ())


def _proxies(found: Found) -> Iterator[Switch]:
    for proxy in found.proxies:
        if proxy.alone:
            why = f"The RDS Proxy {proxy.name} has {found.source.identifier} as its target."
            status = f"{proxy.name} is {proxy.status}: the cutover is refused until it is available."
            well = proxy.status == "available"
            yield Switch({"kind": "rds-proxy", "proxy": proxy.name}, why, () if well else (status,))


def _by_hand(found: Found) -> Iterator[str]:
    host = found.source.host
    for record in found.records:
        where = f"The record {record.name} (hosted zone {record.zone}) names {record.host}"
        if record.host != host:
            yield f"{where}, which is a reader's or an instance's endpoint: change it yourself."
        elif not record.plain:
            yield f"{where} among other values, or by a routing policy: change it yourself."
    for proxy in found.proxies:
        if not proxy.alone:
            yield f"The RDS Proxy {proxy.name} has other targets as well: change it yourself."
    for secret in (s for s in found.secrets if not _movable(s, found.source)):
        where = f"The secret {secret.secret} has {secret.host} in " + (f"its key {secret.key}" if secret.key else "it")
        if owner := managed_by(secret.secret, secret.owner):
            yield f"{where}, and is managed by {owner}, which would overwrite a change."
        elif secret.host != host:
            yield f"{where}, which is a reader's or an instance's endpoint: change it yourself."
        else:
            yield f"{where} as part of a longer text: change it with a switch `command`, or yourself."


def _login(source: Database) -> str:
    if source.master_secret:
        return (
            "RDS manages the master's password in this secret and rotates it (every 7 days, if nothing else is set). "
            "The restored copy keeps the password from the snapshot: no rotation may happen between snapshot and "
            "retire, or give the controller a role and a secret of its own."
        )
    return (
        "The controller's login: the ARN of a secret with username and password, never a password. RDS manages no "
        "secret for the master."
    )


def _groups(found: Found) -> str:
    group, of = found.source.parameter_group, found.source.identifier
    if group.startswith("default."):
        about = f"{of} uses AWS's own parameter group {group}."
    else:
        about = f"{of} uses the parameter group {group}."
    if not found.holder:
        return f"{about} This stack creates two of its own from the settings in it."
    return (
        f"{about} {found.holder} manages it or the database: make sure that its next run does not detach this stack's "
        "group during replication, or define both groups there and set existing."
    )


def _auth(source: Database) -> str:
    if source.iam_authentication:
        return "IAM database authentication is enabled: set iam and the controller uses it if it has no password."
    return "IAM database authentication is disabled, so the controller needs a password."


def _unseen(found: Found) -> tuple[tuple[str, str], ...]:
    named = (
        f"secrets that do not have {found.source.identifier} in their name, description or tags; other accounts, "
        "other regions",
        "They were not read.",
    )
    return (*UNSEEN, named, *((u.what, _why(u)) for u in found.unread))


def _why(unread: Unread) -> str:
    said = f"{unread.why.rstrip('.')}."
    return f"{said} It needs the permission {unread.permission}." if unread.permission else said
