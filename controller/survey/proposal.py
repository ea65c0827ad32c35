"""What a new stack's file is to say, decided from what was found. Pure: `Found` in, `Proposal` out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.survey.found import Found
from encryptdb.controller.survey.references import Record, SecretKey, Unread
from encryptdb.stacks.cloud.database import Database

LOW_TTL = 60
"""Seconds: what is above this is advised against."""

MOST_ALIASES = 8
"""So many keys are offered; the file is to stay a small one."""

UNSEEN = (
    ("PgBouncer and other poolers", "AWS knows nothing of them; each is a switch `pgbouncer` or `command`."),
    (
        "programs, jobs and people that have the host in settings of their own",
        "Environment variables, SSM parameters, files: they are turned away until they are told the new one.",
    ),
    ("DNS outside of this account's Route 53", "A record there is a switch `command`, or changed by hand."),
)
"""What nobody can find out from AWS: (what, why)."""


@dataclass(frozen=True)
class Switch:
    """One switch as the configuration has it, and what is to be said about it."""

    document: Mapping[str, Any]
    why: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """The encryption key: what the file says (None: the owner must name one), why, and what else there is."""

    value: str | None
    why: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """Everything that is not plain from the source itself."""

    key: Key
    switches: tuple[Switch, ...]
    by_hand: tuple[str, ...]
    """What names the source, and no switch can move."""
    login: str
    groups: str
    auth: str
    unseen: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    """What the owner should know before going on."""


def propose(found: Found) -> Proposal:
    """What the file of this stack is to say."""
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
        under = f"{source.kms_key_arn}{f' ({called[0]})' if called else ''}" if present else "a key that AWS keeps"
        why.append(f"{source.identifier} is encrypted already, under {under}. Name the key that it is to be under.")
        if "alias/aws/rds" in called:
            why.append("Without this line it would be alias/aws/rds again, which is refused.")
        else:
            why.append("Without this line it would be alias/aws/rds.")
    else:
        why.append(
            "The key of the encrypted copy. alias/aws/rds is AWS's own; a snapshot under it cannot be shared with "
            "another account."
        )
    if aliases is None:
        why.append("Which keys there are could not be seen (below); an alias, a key id or an ARN can stand here.")
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
            rotated = f"{secret.secret} is rotated: the cutover is refused unless its rotation is off, until retire."
            yield Switch(document, why, (rotated,) if secret.rotated else ())


def _movable(secret: SecretKey, source: Database) -> bool:
    return secret.whole and secret.key is not None and secret.host == source.host and not _owned(secret)


def _owned(secret: SecretKey) -> bool:
    return bool(secret.owner) or secret.secret.startswith("rds!")


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
            why = f"The RDS Proxy {proxy.name} stands in front of {found.source.identifier}."
            status = f"{proxy.name} is {proxy.status}: the cutover is refused until it is available."
            well = proxy.status == "available"
            yield Switch({"kind": "rds-proxy", "proxy": proxy.name}, why, () if well else (status,))


def _by_hand(found: Found) -> Iterator[str]:
    host = found.source.host
    for record in found.records:
        where = f"The record {record.name} (hosted zone {record.zone}) names {record.host}"
        if record.host != host:
            yield f"{where}, which is a reader's or an instance's endpoint: yours to move."
        elif not record.plain:
            yield f"{where} among other values, or by a routing policy: yours to move."
    for proxy in found.proxies:
        if not proxy.alone:
            yield f"The RDS Proxy {proxy.name} has other targets besides: yours to move."
    for secret in (s for s in found.secrets if not _movable(s, found.source)):
        where = f"The secret {secret.secret} has {secret.host} in " + (f"its key {secret.key}" if secret.key else "it")
        if _owned(secret):
            yield f"{where}, and is managed by {secret.owner or 'rds'}: not ours to write."
        elif secret.host != host:
            yield f"{where}, which is a reader's or an instance's endpoint: yours to move."
        else:
            yield f"{where} as a part of a longer text: a switch `command` can write it, or you."


def _login(source: Database) -> str:
    if source.master_secret:
        return (
            "RDS manages the master's password in this secret and rotates it (every 7 days, if nothing else is set). "
            "The copy keeps the password of the snapshot and does not hear of a new one: no rotation may fall between "
            "snapshot and retire, or give the controller a role and a secret of its own."
        )
    return (
        "Where the controller finds its login: the ARN of a secret with username and password, never a password. RDS "
        "manages none for the master."
    )


def _groups(found: Found) -> str:
    group, of = found.source.parameter_group, found.source.identifier
    if group.startswith("default."):
        about = f"{of} uses AWS's own parameter group {group}."
    else:
        about = f"{of} uses the parameter group {group}."
    if not found.holder:
        return f"{about} This stack makes its own two from what is set there."
    return (
        f"{about} {found.holder} holds it or the database: see that its next run does not take this stack's group off "
        "again while it replicates, or hold both groups there yourself and say existing."
    )


def _auth(source: Database) -> str:
    if source.iam_authentication:
        return "IAM database authentication is on: with iam the controller logs in by it where no password is given."
    return "IAM database authentication is off, so the controller needs a password."


def _unseen(found: Found) -> tuple[tuple[str, str], ...]:
    named = (
        f"secrets that do not have {found.source.identifier} in their name, description or tags; other accounts, "
        "other regions",
        "They were not opened.",
    )
    return (*UNSEEN, named, *((u.what, _why(u)) for u in found.unread))


def _why(unread: Unread) -> str:
    said = f"{unread.why.rstrip('.')}."
    return f"{said} It takes the permission {unread.permission}." if unread.permission else said
