"""What the program reads from AWS itself, with boto3 and without ever writing.

Pulumi's own functions do not serve here: `aws.rds.get_parameter_group` returns no parameters, `aws.rds.get_instance`
cannot look for a resource id and raises where the answer is "there is none", and whether a phase has been reached
must be known while the program decides what to declare. Absent is a value; whatever could not be read is an error.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from encryptdb.stacks.cloud.database import (
    Cluster,
    IngressRule,
    Instance,
    Parameter,
    PreparedParameter,
    Snapshot,
    parameter,
    tags_of,
)
from encryptdb.stacks.errors import Unreadable

NO_ANSWER = (BotoCoreError, ResponseParserError)
"""What boto3 raises where nothing, or nothing readable, came back (the second is no BotoCoreError)."""
NO_GROUP = {"DBParameterGroupNotFound", "DBParameterGroupNotFoundFault", "DBClusterParameterGroupNotFound"}


class _Groups(NamedTuple):
    noun: str
    describe: str
    parameters: str


GROUPS = {
    False: _Groups("DBParameterGroup", "describe_db_parameter_groups", "describe_db_parameters"),
    True: _Groups("DBClusterParameterGroup", "describe_db_cluster_parameter_groups", "describe_db_cluster_parameters"),
}
"""How AWS speaks of the parameter groups of instances, and of those of clusters."""


class Aws:
    """Reads in one region with one set of credentials. Raises Unreadable where AWS does not answer or refuses."""

    def __init__(self, region: str | None, profile: str | None = None) -> None:
        self.region = region
        session = boto3.Session(region_name=region, profile_name=profile)
        config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
        self._client: Callable[[str], Any] = lambda service: session.client(service, config=config)  # type: ignore[call-overload]

    def account(self) -> str:
        return str(self._call("sts", "get_caller_identity")["Account"])

    def databases(self) -> tuple[tuple[Instance, ...], tuple[Cluster, ...]]:
        """Every instance and every cluster of the region that is not on its way out."""
        # Instances last, so that every member of a cluster is among them.
        clusters = self._pages("rds", "describe_db_clusters", "DBClusters")
        answers = self._pages("rds", "describe_db_instances", "DBInstances")
        instances = tuple(Instance.read(a) for a in answers if a.get("DBInstanceStatus") != "deleting")
        known = {i.identifier: i for i in instances}
        return instances, tuple(Cluster.read(c, known) for c in clusters if c.get("Status") != "deleting")

    def snapshot(self, identifier: str) -> Snapshot | None:
        """The manual snapshot of an instance of that name, or None where there is none."""
        found = self._find(
            "rds",
            "describe_db_snapshots",
            {"DBSnapshotNotFound", "DBSnapshotNotFoundFault"},
            DBSnapshotIdentifier=identifier,
        )
        if not found or not found["DBSnapshots"]:
            return None
        answer = found["DBSnapshots"][0]
        tags = tags_of(answer.get("TagList"))
        return Snapshot(identifier, answer["DBSnapshotArn"], answer.get("KmsKeyId"), tags, answer.get("Status", ""))

    def cluster_snapshot(self, identifier: str) -> Snapshot | None:
        """The manual snapshot of a cluster of that name, or None where there is none."""
        found = self._find(
            "rds",
            "describe_db_cluster_snapshots",
            {"DBClusterSnapshotNotFoundFault", "DBClusterSnapshotNotFound"},
            DBClusterSnapshotIdentifier=identifier,
        )
        if not found or not found["DBClusterSnapshots"]:
            return None
        answer = found["DBClusterSnapshots"][0]
        key, tags = answer.get("KmsKeyId"), tags_of(answer.get("TagList"))
        return Snapshot(identifier, answer["DBClusterSnapshotArn"], key, tags, answer.get("Status", ""))

    def parameters(self, group: str, of_cluster: bool = False) -> tuple[Parameter, ...] | None:
        """What somebody set in the group, and what RDS sets by itself; None where there is no such group.

        Engine defaults are left out: RDS shows no values for them, and there are hundreds.
        """
        kind = GROUPS[of_cluster]
        answers: list[dict[str, Any]] = []
        try:
            for origin in ("user", "system"):
                arguments = {f"{kind.noun}Name": group, "Source": origin}
                answers += self._raw_pages("rds", kind.parameters, "Parameters", **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in NO_GROUP:
                return None
            raise _unreadable("rds", kind.parameters, error) from None
        except NO_ANSWER as error:
            raise _unreadable("rds", kind.parameters, error) from None
        return tuple(parameter(a) for a in answers)

    def group_tags(self, group: str, of_cluster: bool = False) -> Mapping[str, str]:
        """The tags of a parameter group; none where there is no such group."""
        kind = GROUPS[of_cluster]
        found = self._find("rds", kind.describe, NO_GROUP, **{f"{kind.noun}Name": group})
        if not found or not found[f"{kind.noun}s"]:
            return {}
        arn = found[f"{kind.noun}s"][0][f"{kind.noun}Arn"]
        return tags_of(self._call("rds", "list_tags_for_resource", ResourceName=arn).get("TagList"))

    def ingress(self, filters: Mapping[str, Iterable[str]]) -> tuple[IngressRule, ...]:
        """The rules that let one security group into another, by the filters of DescribeSecurityGroupRules."""
        asked = [{"Name": name, "Values": sorted(values)} for name, values in filters.items()]
        answers = self._pages("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=asked)
        return tuple(
            IngressRule(
                identifier=a["SecurityGroupRuleId"],
                group=a["GroupId"],
                referenced=a["ReferencedGroupInfo"]["GroupId"],
                from_port=int(a.get("FromPort", -1)),
                to_port=int(a.get("ToPort", -1)),
                tags=tags_of(a.get("Tags")),
            )
            for a in answers
            if not a.get("IsEgress") and a.get("ReferencedGroupInfo") and a.get("IpProtocol") in ("tcp", "6")
        )

    def prepared_parameter(self, name: str) -> PreparedParameter | None:
        """What `controller prepare` wrote, or None where it has written nothing (or took it away again)."""
        found = self._find("ssm", "get_parameter", {"ParameterNotFound"}, Name=name)
        return PreparedParameter.parse(name, found["Parameter"]["Value"]) if found else None

    def _call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        found = self._find(service, operation, set(), **arguments)
        assert found is not None, "without codes for absence, an answer or an error"
        return found

    def _find(self, service: str, operation: str, absent: set[str], **arguments: Any) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in absent:
                return None
            raise _unreadable(service, operation, error) from None
        except NO_ANSWER as error:
            raise _unreadable(service, operation, error) from None
        return answer

    def _raw_pages(self, service: str, operation: str, key: str, **arguments: Any) -> Iterable[dict[str, Any]]:
        for page in self._client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(key, ())

    def _pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
        try:
            return list(self._raw_pages(service, operation, key, **arguments))
        except ClientError as error:
            raise _unreadable(service, operation, error) from None
        except NO_ANSWER as error:
            raise _unreadable(service, operation, error) from None


def _unreadable(service: str, operation: str, error: Exception) -> Unreadable:
    permission = f"{service}:{operation.title().replace('_', '').replace('Db', 'DB')}"
    return Unreadable(
        f"AWS did not answer {service} {operation}: {error}",
        f"Check the credentials, the region and the network of this host, and the permission {permission}.",
    )
