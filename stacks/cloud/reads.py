"""What both sides ask AWS about databases, their groups, snapshots and link. Absent is a value; whatever could not be
read is an error (Failed).

Pulumi's own functions do not serve here: `aws.rds.get_parameter_group` returns no parameters, `aws.rds.get_instance`
cannot look for a resource id and raises where the answer is "there is none", and whether a phase has been reached
must be known while the program decides what to declare.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from encryptdb.stacks.cloud import answers
from encryptdb.stacks.cloud.answers import is_encrypted, tags_of
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.cloud.database import Cluster, Instance
from encryptdb.stacks.cloud.words import Words


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, of an instance or of a cluster; `of` is the identifier and the resource id of that."""

    identifier: str
    arn: str
    kms_key_arn: str | None
    tags: Mapping[str, str]
    status: str = "available"
    encrypted: bool = False
    automated: bool = False
    of: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a group. `user` tells whether somebody set it, as against the engine's default; `method` is
    what somebody chose, immediate or pending-reboot."""

    name: str
    value: str | None
    static: bool
    user: bool
    method: str = "immediate"


@dataclass(frozen=True)
class ParameterGroup:
    """A parameter group, without its parameters."""

    name: str
    family: str
    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class IngressRule:
    """One rule that lets another security group in over TCP."""

    identifier: str
    group: str
    referenced: str
    from_port: int
    to_port: int
    tags: Mapping[str, str]


def instance(aws: Aws, identifier: str) -> Instance | None:
    """The instance of that name, of a cluster or not; None where there is none."""
    found = _found(aws, "rds", "describe_db_instances", DBInstanceIdentifier=identifier)
    return next((answers.instance(a) for a in (found or {}).get("DBInstances", ())), None)


def cluster(aws: Aws, identifier: str) -> Cluster | None:
    """The cluster of that name with its instances; None where there is none."""
    found = _found(aws, "rds", "describe_db_clusters", DBClusterIdentifier=identifier)
    for answer in (found or {}).get("DBClusters", ()):
        of_it = [{"Name": "db-cluster-id", "Values": [answer["DBClusterIdentifier"]]}]
        return answers.cluster(answer, aws.pages("rds", "describe_db_instances", "DBInstances", Filters=of_it))
    return None


def instances(aws: Aws) -> tuple[Instance, ...]:
    """Every instance of the region that is no cluster's."""
    listed = aws.pages("rds", "describe_db_instances", "DBInstances")
    return tuple(i for i in map(answers.instance, listed) if i.member_of is None)


def clusters(aws: Aws) -> tuple[Cluster, ...]:
    """Every cluster of the region, with its instances."""
    return databases(aws)[1]


def databases(aws: Aws) -> tuple[tuple[Instance, ...], tuple[Cluster, ...]]:
    """Every instance (those of clusters, too) and every cluster of the region."""
    # Instances last, so that every member of a cluster is among them.
    listed = list(aws.pages("rds", "describe_db_clusters", "DBClusters"))
    found = list(aws.pages("rds", "describe_db_instances", "DBInstances"))
    return tuple(answers.instance(a) for a in found), tuple(answers.cluster(c, found) for c in listed)


def standing(aws: Aws) -> tuple[tuple[Instance, ...], tuple[Cluster, ...]]:
    """`databases` without what is being deleted."""
    found, listed = databases(aws)
    return (
        tuple(i for i in found if not i.deleting),
        tuple(replace(c, members=tuple(m for m in c.members if not m.deleting)) for c in listed if not c.deleting),
    )


def snapshots(aws: Aws, words: Words) -> Iterator[Snapshot]:
    """Every snapshot of the region that is of an instance, or of a cluster."""
    listed = aws.pages("rds", words.operation("snapshots"), words.key("Snapshots"))
    return (_snapshot(answer, words) for answer in listed)


def snapshot(aws: Aws, words: Words, identifier: str) -> Snapshot | None:
    """The snapshot of that name, or None where there is none."""
    found = _found(aws, "rds", words.operation("snapshots"), **{words.key("SnapshotIdentifier"): identifier})
    return next((_snapshot(a, words) for a in (found or {}).get(words.key("Snapshots"), ())), None)


def _snapshot(answer: Mapping[str, Any], words: Words) -> Snapshot:
    return Snapshot(
        identifier=answer[words.key("SnapshotIdentifier")],
        arn=answer.get(words.key("SnapshotArn"), ""),
        kms_key_arn=answer.get("KmsKeyId") or None,
        tags=tags_of(answer.get("TagList")),
        status=answer.get("Status", ""),
        encrypted=is_encrypted(answer),
        automated=answer.get("SnapshotType") == "automated",
        of=(answer.get(f"DB{words.noun.title()}Identifier"), answer.get(words.resource_id)),
    )


def parameters(aws: Aws, words: Words, group: str) -> tuple[Parameter, ...] | None:
    """What somebody set in the group, and what RDS sets by itself; None where there is no such group.

    Engine defaults are left out: RDS shows no values for them, and there are hundreds.
    """
    named = {words.key("ParameterGroupName"): group}
    try:
        listed = [
            answer
            for origin in ("user", "system")
            for answer in aws.pages("rds", words.operation("parameters"), "Parameters", **named, Source=origin)
        ]
    except NotFound:
        return None
    return tuple(_parameter(a) for a in listed)


def _parameter(answer: Mapping[str, Any]) -> Parameter:
    # ApplyMethod says what somebody chose; what the engine needs is in ApplyType.
    method = answer.get("ApplyMethod") or "immediate"
    return Parameter(
        name=answer["ParameterName"],
        value=answer.get("ParameterValue"),
        static=answer.get("ApplyType", "").lower() == "static"
        or ("ApplyType" not in answer and method == "pending-reboot"),
        user=answer.get("Source", "user") == "user",
        method=method,
    )


def parameter_group(aws: Aws, words: Words, name: str) -> ParameterGroup | None:
    """The group of that name, or None where there is none."""
    found = _found(aws, "rds", words.operation("parameter_groups"), **{words.key("ParameterGroupName"): name})
    for answer in (found or {}).get(words.key("ParameterGroups"), ()):
        tags = aws.call("rds", "list_tags_for_resource", ResourceName=answer[words.key("ParameterGroupArn")])
        return ParameterGroup(
            name=answer[words.key("ParameterGroupName")],
            family=answer.get("DBParameterGroupFamily", ""),
            description=answer.get("Description", ""),
            tags=tags_of(tags.get("TagList")),
        )
    return None


def ingress(aws: Aws, filters: Mapping[str, Iterable[str]]) -> tuple[IngressRule, ...]:
    """The rules that let one security group into another, by the filters of DescribeSecurityGroupRules."""
    asked = [{"Name": name, "Values": sorted(values)} for name, values in filters.items()]
    listed = aws.pages("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=asked)
    return tuple(
        IngressRule(
            identifier=a["SecurityGroupRuleId"],
            group=a["GroupId"],
            referenced=a["ReferencedGroupInfo"]["GroupId"],
            from_port=int(a.get("FromPort", -1)),
            to_port=int(a.get("ToPort", -1)),
            tags=tags_of(a.get("Tags")),
        )
        for a in listed
        if not a.get("IsEgress") and a.get("ReferencedGroupInfo") and a.get("IpProtocol") in ("tcp", "6")
    )


def _found(aws: Aws, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
    try:
        return aws.call(service, operation, **parameters)
    except NotFound:
        return None
