"""What AWS says about one database server, in the words that RDS instances and Aurora clusters share. Only values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Member:
    """One instance of an Aurora cluster. `parameter_status` is that of the cluster's parameter group on it."""

    identifier: str
    writer: bool
    status: str
    parameter_status: str
    host: str | None
    port: int
    created: datetime | None
    public: bool


@dataclass(frozen=True)
class Description:
    """One RDS instance, or one Aurora cluster with its members (the writer first). Sizes in bytes.

    `status` and `parameter_status` speak for the whole: of a cluster they are those of the first member that is not
    available, or not in sync, if there is one; `deleting` is of the cluster itself. `clone_group` is what it shares
    with its clones.
    """

    identifier: str
    resource_id: str
    status: str
    engine: str
    engine_version: str
    encrypted: bool
    encryption_type: str | None
    kms_key_arn: str | None
    parameter_group: str
    parameter_status: str
    pending: Mapping[str, Any]
    public: bool
    created: datetime | None
    allocated_bytes: int
    max_allocated_bytes: int | None
    read_replicas: tuple[str, ...]
    replica_of: str | None
    deletion_protection: bool
    deleting: bool = False
    members: tuple[Member, ...] = ()
    clone_group: str | None = None

    @property
    def plain(self) -> bool:
        """Whether the storage is not encrypted at all, under no kind of key."""
        return not self.encrypted and self.encryption_type in (None, "none")

    @property
    def under_kms_key(self) -> bool:
        """Whether it is encrypted under a KMS key, as against one of the service that nobody sees (sse-rds)."""
        return self.encrypted and self.encryption_type in (None, "sse-kms")

    @property
    def readers(self) -> tuple[Member, ...]:
        return tuple(m for m in self.members if not m.writer)


def plain(answer: Mapping[str, Any]) -> bool:
    """The same of a snapshot, backup or cluster as AWS describes it: the key is `Encrypted` or `StorageEncrypted`."""
    encrypted = bool(answer.get("Encrypted") or answer.get("StorageEncrypted"))
    return not encrypted and answer.get("StorageEncryptionType") in (None, "none")


def common(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What DescribeDBInstances and DescribeDBClusters call by the same names."""
    return {
        "engine": answer["Engine"],
        "engine_version": answer.get("EngineVersion", ""),
        "encrypted": bool(answer.get("StorageEncrypted")),
        "encryption_type": answer.get("StorageEncryptionType"),
        "kms_key_arn": answer.get("KmsKeyId"),
        "pending": dict(answer.get("PendingModifiedValues") or {}),
        "allocated_bytes": int(answer.get("AllocatedStorage") or 0) << 30,
        "deletion_protection": bool(answer.get("DeletionProtection")),
    }


@dataclass(frozen=True)
class Log:
    """Where the server log of the side that takes the writes is.

    `instance` is what the RDS API knows its files by, `group` the CloudWatch group, `stream` the instance's stream in
    it (None: the group has no other). Lines before `since` came along from the source.
    """

    instance: str
    since: datetime | None
    group: str
    stream: str | None = None


@dataclass(frozen=True)
class Leftover:
    """One thing that may hold plaintext, and the command that removes it."""

    kind: str
    name: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "remedy": self.remedy}
