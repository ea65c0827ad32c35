"""What points to this database: Route 53 records, RDS proxies, Secrets Manager secrets.

Each function returns only what points to it. If the list cannot be read, it raises as `stacks.cloud.client` does; an
item of the list that cannot be read is returned as `Unread`: it may point to the database or not. No value of a secret
leaves this module, except the names of its keys.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.switches.route53 import plain_name, record_type
from encryptdb.stacks.cloud.client import Aws, Denied, NotFound
from encryptdb.stacks.contract.errors import Problem


@dataclass(frozen=True)
class Unread:
    """Something that could not be read, and AWS's message. `permission` is the one that was missing, None if that was
    not the reason."""

    what: str
    permission: str | None
    why: str

    @classmethod
    def of(cls, what: str, problem: Problem) -> "Unread":
        """From the Problem that the client raised."""
        permission = problem.permission if isinstance(problem, Denied) else None
        return cls(what, permission, problem.detail or problem.message)


@dataclass(frozen=True)
class Record:
    """A Route 53 record whose value is one of the database's hosts."""

    zone: str
    zone_name: str
    private: bool
    name: str
    type: str
    ttl: int | None
    """Seconds."""
    host: str
    plain: bool
    """Whether it is a simple record: one value, no alias, no routing policy."""


@dataclass(frozen=True)
class Proxy:
    """An RDS Proxy with the database among its targets."""

    name: str
    status: str
    alone: bool
    """Whether it is the only target."""


@dataclass(frozen=True)
class SecretKey:
    """One key of a JSON secret that holds one of the database's hosts."""

    secret: str
    arn: str
    key: str | None
    """None if the secret is not a JSON object and its text contains the host."""
    port_key: str | None
    host: str
    whole: bool
    """Whether the value is the host alone, and not a URL or host:port."""
    owner: str | None
    """The AWS service that manages the secret."""
    rotated: bool


def records(aws: Aws, hosts: Collection[str]) -> tuple[Record | Unread, ...]:
    """Records of all hosted zones of the account whose value is one of `hosts`. Raises a Problem."""
    found: list[Record | Unread] = []
    for zone in aws.pages("route53", "list_hosted_zones", "HostedZones"):
        try:
            found += _records_of(aws, zone, hosts)
        except Problem as problem:
            what = f"the records of the hosted zone {plain_name(zone['Name'])} ({_zone_id(zone)})"
            found.append(Unread.of(what, problem))
    return tuple(found)


def _records_of(aws: Aws, zone: Mapping[str, Any], hosts: Collection[str]) -> Iterator[Record]:
    wanted = {plain_name(host): host for host in hosts}
    types = {record_type(host) for host in hosts}
    sets = list(aws.pages("route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=_zone_id(zone)))
    for record in sets:
        values = [plain_name(r["Value"]) for r in record.get("ResourceRecords") or ()]
        alias = plain_name((record.get("AliasTarget") or {}).get("DNSName", ""))
        for value in (v for v in (*values, alias) if v in wanted and record["Type"] in types):
            yield Record(
                zone=_zone_id(zone),
                zone_name=plain_name(zone["Name"]),
                private=bool((zone.get("Config") or {}).get("PrivateZone")),
                name=plain_name(record["Name"]),
                type=record["Type"],
                ttl=record.get("TTL"),
                host=wanted[value],
                plain=len(values) == 1 and not alias and "SetIdentifier" not in record,
            )


def proxies(aws: Aws, identifier: str, cluster: bool) -> tuple[Proxy | Unread, ...]:
    """Proxies that have the instance or cluster as a target. Raises a Problem."""
    found: list[Proxy | Unread] = []
    for proxy in aws.pages("rds", "describe_db_proxies", "DBProxies"):
        name = proxy["DBProxyName"]
        try:
            # A proxy has one target group.
            targets = list(aws.pages("rds", "describe_db_proxy_targets", "Targets", DBProxyName=name))
        except Problem as problem:
            what = f"the targets of the RDS Proxy {name}"
            found.append(Unread.of(what, problem))
            continue
        behind = {_target(target) for target in targets}
        if (identifier, cluster) in behind:
            found.append(Proxy(name, proxy.get("Status", ""), len(behind) == 1))
    return tuple(found)


def _target(target: Mapping[str, Any]) -> tuple[str, bool]:
    """The identifier that is registered, and whether it is a cluster. A cluster's instances are listed as tracked."""
    if target.get("TrackedClusterId"):
        return target["TrackedClusterId"], True
    return target["RdsResourceId"], target.get("Type") == "TRACKED_CLUSTER"


def secrets(aws: Aws, identifier: str, hosts: Collection[str]) -> tuple[SecretKey | Unread, ...]:
    """Keys of secrets that hold one of `hosts`. Only secrets whose name, description or tags contain the identifier
    are read. Raises a Problem if secrets cannot be listed."""
    candidates: dict[str, dict[str, Any]] = {}
    # `all` searches word by word, but a name with both - and / is one word to AWS. `name` searches by prefix.
    for key in ("all", "name"):
        for secret in aws.pages(
            "secretsmanager", "list_secrets", "SecretList", Filters=[{"Key": key, "Values": [identifier]}]
        ):
            candidates[secret["ARN"]] = secret
    found: list[SecretKey | Unread] = []
    for _, secret in sorted(candidates.items(), key=lambda item: str(item[1]["Name"])):
        if not secret.get("DeletedDate"):
            found += _keys_of(aws, secret, hosts)
    return tuple(found)


def _keys_of(aws: Aws, secret: Mapping[str, Any], hosts: Collection[str]) -> list[SecretKey | Unread]:
    what = f"the secret {secret['Name']}"
    try:
        text = aws.call("secretsmanager", "get_secret_value", SecretId=secret["ARN"]).get("SecretString")
    except NotFound:
        # It has no value yet, or is gone meanwhile.
        return []
    except Problem as problem:
        return [Unread.of(what, problem)]
    if text is None:
        return [Unread(what, None, "Its value is binary.")]
    rotated, owner = bool(secret.get("RotationEnabled")), secret.get("OwningService")
    return [
        SecretKey(secret["Name"], secret["ARN"], key, port_key, host, whole, owner, rotated)
        for key, port_key, host, whole in _places(text, hosts)
    ]


def _places(text: str, hosts: Collection[str]) -> Iterator[tuple[str | None, str | None, str, bool]]:
    """(key, key of the port, host, whether the value is the host alone) for every place in a secret's text."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        yield from ((None, None, host, False) for host in _inside(text, hosts))
        return
    for key, content in value.items():
        if isinstance(content, str | list | dict):
            for host in _inside(content if isinstance(content, str) else json.dumps(content), hosts):
                whole = isinstance(content, str) and content == host
                yield key, _port_key(value, key) if whole else None, host, whole


def _inside(text: str, hosts: Collection[str]) -> list[str]:
    """The hosts that a text has in it, each as a whole name: `db.x` is not in `old-db.x`."""
    return [h for h in hosts if re.search(rf"(?<![\w.-]){re.escape(h)}(?![\w-]|\.\w)", text, re.IGNORECASE)]


def _port_key(value: Mapping[str, Any], host_key: str) -> str | None:
    """The key with the port that belongs to `host_key`: `db_port` beside `db_host`, before any other with `port`."""
    numbers = [k for k, v in value.items() if str(v).isascii() and str(v).isdigit() and "port" in k.lower()]
    like = host_key.lower().replace("hostname", "port").replace("host", "port").replace("endpoint", "port")
    return next((k for k in numbers if k.lower() == like), numbers[0] if len(numbers) == 1 else None)


def _zone_id(zone: Mapping[str, Any]) -> str:
    return str(zone["Id"]).rpartition("/")[2]
