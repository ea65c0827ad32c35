"""DB instances and clusters as values, and the statuses in which they serve. `answers` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from encryptdb.stacks.cloud.words import CLUSTER, INSTANCE, Words

SERVING = frozenset(
    {
        "available",
        "backing-up",
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
        "storage-initialization",
        "storage-optimization",
        "update-iam-db-auth",
    }
)
"""Statuses in which a server takes connections, reads and writes, and AWS is not about to restart it (RDS User Guide,
"Viewing DB instance status"; Aurora User Guide, "Viewing DB cluster status"). A first backup after a restore, storage
optimization and storage initialization each can last a day, so nothing waits for exactly `available`. `modifying` is
not among them: the modification may be one that restarts the server, and AWS does not tell."""

CHANGING = frozenset(
    {
        "converting-to-vpc",
        "creating",
        "failing-over",
        "maintenance",
        "modifying",
        "moving-to-vpc",
        "promoting",
        "rebooting",
        "renaming",
        "resetting-master-credentials",
        "starting",
        "storage-config-upgrade",
        "upgrading",
    }
)
"""Statuses that a server leaves by itself, and should not be built on meanwhile."""

BROKEN = frozenset(
    {
        "cloning-failed",
        "failed",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "incompatible-create",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "migration-failed",
        "restore-error",
        "storage-full",
    }
)
"""Statuses that a server does not leave by itself."""


@dataclass(frozen=True)
class Capacity:
    """The range of a Serverless v2 cluster, in Aurora capacity units."""

    least: float
    most: float
    pause_after: int | None = None
    """Seconds of idleness."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """An RDS instance or an Aurora cluster, as far as the two are alike. Sizes in bytes.

    `status` is its own, `overall_status` that of the whole with its members. `encryption_type` is AWS's
    StorageEncryptionType; `kms_key_arn` is None where it is not encrypted, and where its key is AWS's own (sse-rds).
    `parameter_status` is that of the parameter group on it: of a member, of the cluster's group; of a cluster, of the
    first member that is not in sync. `pending` are AWS's PendingModifiedValues. `replica_of` is the identifier or ARN
    of what it replicates.
    """

    words: ClassVar[Words]

    identifier: str
    resource_id: str
    engine: str
    engine_version: str
    status: str
    host: str | None
    port: int
    encrypted: bool
    kms_key_arn: str | None
    parameter_group: str
    parameter_status: str = ""
    subnet_group: str | None = None
    security_groups: tuple[str, ...] = ()
    log_exports: tuple[str, ...] = ()
    iam_authentication: bool = False
    copy_tags_to_snapshot: bool = False
    multi_az: bool = False
    encryption_type: str | None = None
    arn: str = ""
    created: datetime | None = None
    pending: Mapping[str, Any] = field(default_factory=dict)
    allocated_bytes: int = 0
    max_allocated_bytes: int | None = None
    deletion_protection: bool = False
    master_secret: str | None = None
    """The ARN of the secret in which RDS manages the master's password."""
    read_replicas: tuple[str, ...] = ()
    replica_of: str | None = None
    backups_elsewhere: tuple[str, ...] = ()
    """ARNs of copies of its automated backups in other regions."""
    clone_group: str | None = None
    """What a cluster shares with its clones."""
    capacity: Capacity | None = None
    reader_host: str | None = None
    """The endpoint of all readers of a cluster."""
    members: "tuple[Instance, ...]" = ()
    """The instances of a cluster, the writer first."""
    member_of: str | None = None
    """The cluster of an instance that is not a database by itself."""
    tags: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """AWS's whole answer, for the table of settings (controller/engines/tables.py) and nothing else."""

    @property
    def complete(self) -> bool:
        """Whether it shows what it is going to be; one that is still being made does not."""
        return self.host is not None and self.status != "creating"

    @property
    def deleting(self) -> bool:
        return self.status == "deleting"

    @property
    def under_kms_key(self) -> bool:
        """Whether it is encrypted under a KMS key of the account, as against one of AWS's own (sse-rds)."""
        return self.encrypted and self.encryption_type in (None, "sse-kms")

    @property
    def overall_status(self) -> str:
        """Its status, or that of its first member that does not serve."""
        return self.status

    @property
    def serving(self) -> bool:
        """Whether all of it serves."""
        return self.overall_status in SERVING

    @property
    def readers(self) -> "tuple[Instance, ...]":
        """Its members that only read."""
        return tuple(m for m in self.members if not m.writer)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class of each of its instances, the writer's first."""
        return tuple(m.instance_class for m in self.members)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every name it answers to, of a cluster without those of its members."""
        return (self.host,) if self.host else ()

    @property
    def reader_hosts(self) -> tuple[str, ...]:
        """What leads to a part of a cluster only: its reader and custom endpoints, and those of its instances."""
        hosts = (*self.hosts, *(h for m in self.members for h in m.hosts))
        return tuple(dict.fromkeys(h for h in hosts if h != self.host))

    @property
    def public(self) -> bool:
        """Whether any of it is publicly accessible."""
        return any(m.publicly_accessible for m in self.members)

    @property
    def wholly_public(self) -> bool:
        """Whether all of it is publicly accessible."""
        return bool(self.members) and all(m.publicly_accessible for m in self.members)


@dataclass(frozen=True, kw_only=True)
class Instance(Database):
    """One instance: an RDS database by itself, or a member of the cluster `member_of`."""

    words: ClassVar[Words] = INSTANCE

    instance_class: str = ""
    publicly_accessible: bool = False
    auto_minor_version_upgrade: bool = True
    promotion_tier: int | None = None
    writer: bool = False

    @property
    def public(self) -> bool:
        return self.publicly_accessible

    @property
    def wholly_public(self) -> bool:
        return self.publicly_accessible

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.instance_class,)


@dataclass(frozen=True, kw_only=True)
class Cluster(Database):
    """One Aurora cluster and its instances. `missing` are members that only the cluster knows of: being made, or
    deleted."""

    words: ClassVar[Words] = CLUSTER

    custom_endpoints: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    engine_mode: str = "provisioned"
    scalability: str = "standard"
    global_cluster: str | None = None

    @property
    def overall_status(self) -> str:
        statuses = [self.status, *(m.status for m in self.members), *("unknown" for _ in self.missing)]
        if not self.members and not self.missing:
            statuses.append("without an instance")
        return next((s for s in statuses if s not in SERVING), self.status)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(h for h in (self.host, self.reader_host, *self.custom_endpoints) if h)


def same_key(one: str | None, other: str | None) -> bool:
    """Whether two names mean one key. AWS answers with ARNs; a bare id is compared with the ARN's end."""
    if one is None or other is None:
        return False
    return one == other or (":" not in one and other.endswith(f"/{one}"))
