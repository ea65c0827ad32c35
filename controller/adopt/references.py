"""What in AWS refers to the source: alarms, policies, event subscriptions, records, proxies, secrets, and so on.

Each reader yields what it finds; one that AWS refuses becomes `Unseen`, and the others continue.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.adopt.found import Reference, Unseen
from encryptdb.controller.init import references as shared
from encryptdb.controller.init.references import Unread
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Problem


@dataclass(frozen=True)
class Old:
    """The names of the source, and what replaces each. `identifiers` are the server's and its members'; `target_hosts`
    are in the order of `hosts`, which is empty if they are no longer known."""

    identifier: str
    identifiers: tuple[str, ...]
    resource_id: str
    arn: str
    hosts: tuple[str, ...]
    cluster: bool
    log_groups: str
    """Prefix of the names of its log groups."""
    target: str
    target_resource_id: str
    target_arn: str
    target_hosts: tuple[str, ...]
    target_log_groups: str

    def successor(self, host: str) -> str:
        """The target's host that replaces this one."""
        place = self.hosts.index(host) if host in self.hosts else 0
        return self.target_hosts[min(place, len(self.target_hosts) - 1)] if self.target_hosts else "the target's host"


Seen = Iterator[Reference | Unseen]


def find(aws: Aws, old: Old) -> tuple[tuple[Reference, ...], tuple[Unseen, ...]]:
    """Every reference, and everything that could not be read. Does not raise if AWS refuses a call."""
    references: list[Reference] = []
    unseen: list[Unseen] = []
    for what, read in READERS:
        try:
            for one in read(aws, old):
                (unseen if isinstance(one, Unseen) else references).append(one)  # type: ignore[arg-type]
        except Problem as problem:
            unseen.append(Unseen(what, problem.detail or problem.message, problem.hint))
    return tuple(references), tuple(unseen)


def alarms(aws: Aws, old: Old) -> Seen:
    """CloudWatch alarms on a metric of the source, also as part of an expression."""
    for alarm in aws.pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmTypes=["MetricAlarm"]):
        parts = [m.get("MetricStat", {}).get("Metric", {}) for m in alarm.get("Metrics") or ()]
        dimensions = [d for part in (alarm, *parts) for d in part.get("Dimensions") or ()]
        for name in sorted({d["Value"] for d in dimensions if _dimension(d, old)}):
            yield Reference("alarm", alarm["AlarmName"], f"the dimension {name}", f"the dimension {old.target}")


def _dimension(dimension: dict[str, str], old: Old) -> bool:
    named = dimension["Name"] in ("DBInstanceIdentifier", "DBClusterIdentifier")
    return named and dimension["Value"] in old.identifiers


def log_groups(aws: Aws, old: Old) -> Seen:
    """Log groups of the source: they remain, and their settings are not on the target's."""
    for group in aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=old.log_groups):
        name = group["logGroupName"]
        new = old.target_log_groups + name.removeprefix(old.log_groups)
        kept = group.get("retentionInDays")
        retention = f"aws logs put-retention-policy --log-group-name {new} --retention-in-days {kept}; " if kept else ""
        instead = f"{retention}subscription and metric filters on {new}"
        yield Reference("log group", name, f"its name; kept {f'{kept} days' if kept else 'forever'}", instead)


POLICIES = (
    ("User", "UserDetailList", "UserName", "UserPolicyList"),
    ("Role", "RoleDetailList", "RoleName", "RolePolicyList"),
    ("Group", "GroupDetailList", "GroupName", "GroupPolicyList"),
)


def policies(aws: Aws, old: Old) -> Seen:
    """IAM policies of this account, managed and inline, that name the source's resource id or ARN."""
    for kind, key, named, inline in POLICIES:
        for who in aws.pages("iam", "get_account_authorization_details", key, Filter=[kind]):
            for policy in who.get(inline) or ():
                owner = f"{policy['PolicyName']} of the {kind.lower()} {who[named]}"
                yield from _policy(owner, policy.get("PolicyDocument"), old)
    for policy in aws.pages("iam", "get_account_authorization_details", "Policies", Filter=["LocalManagedPolicy"]):
        for version in policy.get("PolicyVersionList") or ():
            if version.get("IsDefaultVersion"):
                yield from _policy(
                    policy.get("PolicyName") or policy.get("Arn", "a managed policy"), version.get("Document"), old
                )


def _policy(name: str, document: Any, old: Old) -> Seen:
    text = document if isinstance(document, str) else json.dumps(document)
    if old.resource_id and f"{old.resource_id}/" in text:
        yield Reference("IAM policy", name, f"dbuser:{old.resource_id}", f"dbuser:{old.target_resource_id}")
    if old.arn and f'"{old.arn}"' in text:
        yield Reference("IAM policy", name, old.arn, old.target_arn)


def subscriptions(aws: Aws, old: Old) -> Seen:
    """RDS event subscriptions that have the source among their source ids."""
    command = "aws rds {}-source-identifier-to-subscription --subscription-name {} --source-identifier {}"
    for one in aws.pages("rds", "describe_event_subscriptions", "EventSubscriptionsList"):
        for name in sorted(set(one.get("SourceIdsList") or ()) & set(old.identifiers)):
            subscription = one["CustSubscriptionId"]
            yield Reference(
                "event subscription",
                subscription,
                f"the source {name}",
                command.format("add", subscription, old.target),
            )


def records(aws: Aws, old: Old) -> Seen:
    """Route 53 records whose value is one of the source's hosts."""
    _known(old)
    for one in shared.records(aws, old.hosts):
        if isinstance(one, Unread):
            yield _unseen(one)
        else:
            where = f"{one.name} {one.type} in the zone {one.zone}"
            yield Reference("Route 53 record", where, one.host, old.successor(one.host))


def proxies(aws: Aws, old: Old) -> Seen:
    """RDS proxies that have the source as a target."""
    option = "--db-cluster-identifiers" if old.cluster else "--db-instance-identifiers"
    for one in shared.proxies(aws, old.identifier, old.cluster):
        if isinstance(one, Unread):
            yield _unseen(one)
        else:
            command = f"db-proxy-targets --db-proxy-name {one.name} {option}"
            instead = f"aws rds deregister-{command} {old.identifier} && aws rds register-{command} {old.target}"
            yield Reference("RDS proxy", one.name, f"the target {old.identifier}", instead)


def secrets(aws: Aws, old: Old) -> Seen:
    """Secrets that have the source's identifier in their metadata and one of its hosts in their value."""
    _known(old)
    for one in shared.secrets(aws, old.identifier, old.hosts):
        if isinstance(one, Unread):
            yield _unseen(one)
        else:
            key = f"its key {one.key}" if one.key else "its text"
            yield Reference("secret", one.secret, f"{one.host} in {key}", old.successor(one.host))


def backups(aws: Aws, old: Old) -> Seen:
    """AWS Backup: the protected resource; a selection by ARN needs the target's."""
    for one in aws.pages("backup", "list_protected_resources", "Results"):
        if one.get("ResourceArn") in (old.arn, _by_id(old)):
            instead = f"in every selection that lists ARNs: {old.target_arn}. One by tag needs the tag on the target"
            yield Reference("AWS Backup", one["ResourceArn"], "a protected resource", instead)


def _by_id(old: Old) -> str:
    """The ARN that AWS Backup uses for an Aurora cluster: it ends with the resource id."""
    return old.arn.rpartition(":")[0] + f":{old.resource_id}"


def dms(aws: Aws, old: Old) -> Seen:
    """DMS endpoints that connect to one of the source's hosts."""
    _known(old)
    for one in aws.pages("dms", "describe_endpoints", "Endpoints"):
        if one.get("ServerName") in old.hosts:
            host = one["ServerName"]
            yield Reference("DMS endpoint", one["EndpointIdentifier"], host, old.successor(host))


def _known(old: Old) -> None:
    if not old.hosts:
        raise Problem(
            "The source's host is not known.",
            detail="The source has been deleted, and its host is not recorded.",
            hint=f"Search them for {old.identifier}.",
        )


def _unseen(unread: Unread) -> Unseen:
    lacking = f"Grant the permission {unread.permission} to the controller's role." if unread.permission else None
    return Unseen(unread.what, unread.why, lacking)


READERS: Iterable[tuple[str, Callable[[Aws, Old], Seen]]] = (
    ("CloudWatch alarms", alarms),
    ("CloudWatch log groups", log_groups),
    ("IAM policies", policies),
    ("RDS event subscriptions", subscriptions),
    ("Route 53 records", records),
    ("RDS proxies", proxies),
    ("secrets", secrets),
    ("AWS Backup", backups),
    ("DMS endpoints", dms),
)
"""What is searched, and by which reader."""
