"""What was found out about one database: frozen values, read from AWS's answers at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from encryptdb.controller.survey.references import Proxy, Record, SecretKey, Unread

STACK_TAG = "encryptdb:stack"
"""The tag that the Pulumi program puts on what a stack has made."""

DEFAULT_PORT = 5432


@dataclass(frozen=True, kw_only=True)
class Source:
    """The RDS instance or Aurora cluster that was named."""

    identifier: str
    arn: str
    resource_id: str
    cluster: bool
    engine: str
    version: str
    status: str
    classes: tuple[str, ...]
    """The class of the instance, or of each instance of the cluster, the writer's first."""
    host: str | None
    """None while it is being made."""
    port: int
    reader_hosts: tuple[str, ...]
    """What leads to a part of a cluster only: its reader and custom endpoints, and those of its instances."""
    encrypted: bool
    kms_key_arn: str | None
    """None where it is not encrypted, and where it is under a key that AWS keeps to itself."""
    parameter_group: str
    multi_az: bool
    public: bool
    log_exports: tuple[str, ...]
    iam_authentication: bool
    master_secret: str | None
    """The ARN of the secret in which RDS manages the master's password."""
    member_of: str | None = None
    replica_of: str | None = None
    global_cluster: str | None = None
    engine_mode: str = "provisioned"
    scalability: str = "standard"
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """Which kind of thing it is, as in "the RDS instance"."""
        return "the Aurora cluster" if self.cluster else "the RDS instance"


@dataclass(frozen=True)
class Alias:
    """An alias of a KMS key, and the id of that key."""

    name: str
    key_id: str


@dataclass(frozen=True)
class Found:
    """All that a survey of one source found, and what it could not look at."""

    stack: str
    region: str
    source: Source
    holder: str | None
    """Whose code holds the parameter group or the source, as their tags tell; None where they tell nothing."""
    aliases: tuple[Alias, ...] | None
    """None where they could not be listed."""
    records: tuple[Record, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    secrets: tuple[SecretKey, ...] = ()
    unread: tuple[Unread, ...] = ()


def instance(answer: Mapping[str, Any]) -> Source:
    """One element of DescribeDBInstances."""
    endpoint = answer.get("Endpoint") or {}
    groups = answer.get("DBParameterGroups") or [{}]
    return Source(
        identifier=answer["DBInstanceIdentifier"],
        arn=answer.get("DBInstanceArn", ""),
        resource_id=answer["DbiResourceId"],
        cluster=False,
        status=answer.get("DBInstanceStatus", ""),
        classes=(answer.get("DBInstanceClass", ""),),
        host=endpoint.get("Address"),
        port=int(endpoint.get("Port") or answer.get("DbInstancePort") or DEFAULT_PORT),
        reader_hosts=(),
        parameter_group=groups[0].get("DBParameterGroupName", ""),
        multi_az=bool(answer.get("MultiAZ")),
        public=bool(answer.get("PubliclyAccessible")),
        member_of=answer.get("DBClusterIdentifier") or None,
        replica_of=answer.get("ReadReplicaSourceDBInstanceIdentifier")
        or answer.get("ReadReplicaSourceDBClusterIdentifier")
        or None,
        **_common(answer),
    )


def cluster(answer: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]]) -> Source:
    """One element of DescribeDBClusters, with its instances as DescribeDBInstances lists them, by identifier."""
    roles = {m["DBInstanceIdentifier"]: bool(m.get("IsClusterWriter")) for m in answer.get("DBClusterMembers") or ()}
    members = [instances[n] for n in sorted(roles, key=lambda n: (not roles[n], n)) if n in instances]
    of_members = [(m.get("Endpoint") or {}).get("Address") for m in members]
    others = [answer.get("ReaderEndpoint"), *(answer.get("CustomEndpoints") or ()), *of_members]
    return Source(
        identifier=answer["DBClusterIdentifier"],
        arn=answer.get("DBClusterArn", ""),
        resource_id=answer["DbClusterResourceId"],
        cluster=True,
        status=answer.get("Status", ""),
        classes=tuple(m.get("DBInstanceClass", "") for m in members),
        host=answer.get("Endpoint") if answer.get("Status") != "creating" else None,
        port=int(answer.get("Port") or DEFAULT_PORT),
        reader_hosts=tuple(dict.fromkeys(h for h in others if h and h != answer.get("Endpoint"))),
        parameter_group=answer.get("DBClusterParameterGroup", ""),
        multi_az=False,
        public=bool(members) and all(m.get("PubliclyAccessible") for m in members),
        replica_of=answer.get("ReplicationSourceIdentifier") or None,
        global_cluster=answer.get("GlobalClusterIdentifier") or None,
        engine_mode=answer.get("EngineMode") or "provisioned",
        scalability=answer.get("ClusterScalabilityType") or "standard",
        **_common(answer),
    )


def _common(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What DescribeDBInstances and DescribeDBClusters call the same."""
    return {
        "engine": answer["Engine"],
        "version": answer.get("EngineVersion", ""),
        # `sse-rds` is encrypted, though StorageEncrypted may deny it.
        "encrypted": bool(answer.get("StorageEncrypted")) or (answer.get("StorageEncryptionType") or "none") != "none",
        "kms_key_arn": answer.get("KmsKeyId") or None,
        "log_exports": tuple(sorted(answer.get("EnabledCloudwatchLogsExports") or ())),
        "iam_authentication": bool(answer.get("IAMDatabaseAuthenticationEnabled")),
        "master_secret": (answer.get("MasterUserSecret") or {}).get("SecretArn"),
        "tags": tags(answer.get("TagList")),
    }


def tags(answer: Any) -> dict[str, str]:
    """Tags as AWS lists them, as a dictionary."""
    return {tag["Key"]: tag.get("Value", "") for tag in answer or ()}


def holder(*tagged: Mapping[str, str]) -> str | None:
    """Which tool's code holds what has these tags: CloudFormation says so itself, others by convention only."""
    for found in tagged:
        if "aws:cloudformation:stack-name" in found:
            return f"CloudFormation (stack {found['aws:cloudformation:stack-name']})"
        for key, value in found.items():
            text = f"{key}={value}"
            for tool in ("Terraform", "OpenTofu", "Pulumi"):
                if tool.lower() in text.lower() and not key.startswith("encryptdb:"):
                    return f"{tool} (tag {text})"
    return None
