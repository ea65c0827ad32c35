"""moto's Aurora cluster, its instances and its snapshots with what they lack. Plain data, as in models.py."""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from moto.rds.models import DBCluster, DBClusterParameterGroup, DBClusterSnapshot, DBInstanceClustered, RDSBackend

from encryptdb.lab.parameters import Setting, from_moto
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.vault import Stored

ENGINE = "aurora-postgresql"
EncryptionType = Literal["none", "sse-rds", "sse-kms"]


class LabCluster(DBCluster):
    """An Aurora cluster whose writer and readers are real servers.

    `volume_key` is the KMS key that its volume is really under: its own, or the one that AWS owns and shows to nobody.
    """

    # moto finds a model's service in its module's name.
    __module__ = "moto.rds.models"

    def __init__(
        self,
        backend: RDSBackend,
        *,
        addresses: tuple[str, str],
        kind: EncryptionType,
        volume_key: str | None,
        **kw: Any,
    ) -> None:
        super().__init__(backend, **kw)
        self.password: str = kw["master_user_password"]
        """For the master's role, which is made when the first server starts."""
        self.address, self.reader_address = addresses
        self.storage_encryption_type, self.volume_key = kind, volume_key
        self.storage_encrypted = kind == "sse-kms"
        self.kms_key_id = volume_key if kind == "sse-kms" else None  # type: ignore[assignment]
        self.fresh: Literal["made", "restored", ""] = "restored"
        """Whether no server has run on its volume yet, and what is in it then."""
        self.state = "creating"
        self.storage_type = "aurora"
        self.allocated_storage = 1
        self.license_model = "postgresql-license"
        self.hosted_zone_id = "Z2R2ITUGPM61AM"
        self.cluster_scalability_type = "standard"
        self.enabled_cloudwatch_logs_exports = list(self.enabled_cloudwatch_logs_exports)

    # moto's is `available` as soon as someone has looked.
    @property
    def status(self) -> str:
        return self.state

    @status.setter
    def status(self, value: str) -> None:
        self.state = value

    @property
    def endpoint(self) -> str:
        return self.address

    @property
    def reader_endpoint(self) -> str:
        return self.reader_address

    @property
    def group_name(self) -> str:
        return str(self.parameter_group)

    @property
    def instances(self) -> list["LabMember"]:
        """Its instances, the writer first."""
        found = [m for m in self._members if isinstance(m, LabMember)]
        return sorted(found, key=lambda m: not m.is_cluster_writer)

    @property
    def the_writer(self) -> "LabMember | None":
        return next((m for m in self.instances if m.is_cluster_writer), None)

    @property
    def readers(self) -> list["LabMember"]:
        return [m for m in self.instances if not m.is_cluster_writer]

    # moto makes a writer of any instance where there is none; here the first one is, and stays it.
    def designate_writer(self) -> None:
        return

    @property
    def db_cluster_members(self) -> list[dict[str, Any]]:
        return [
            {
                "DBInstanceIdentifier": member.db_instance_identifier,
                "IsClusterWriter": member.is_cluster_writer,
                "DBClusterParameterGroupStatus": member.cluster_apply_status,
                "PromotionTier": member.promotion_tier,
            }
            for member in self.instances
        ]

    @property
    def vpc_id(self) -> str:
        group = self.backend.subnet_groups.get(self.db_subnet_group_name)
        return str(group.vpc_id) if group is not None else ""


class LabMember(LabInstance, DBInstanceClustered):
    """An instance of a cluster. What is the cluster's, it has from there."""

    __module__ = "moto.rds.models"

    def __init__(self, backend: RDSBackend, **kwargs: Any) -> None:
        self.cluster_apply_status = "in-sync"
        super().__init__(backend, **kwargs)

    @property
    def lab_cluster(self) -> LabCluster:
        assert isinstance(self.cluster, LabCluster)
        return self.cluster

    @property
    def enabled_cloudwatch_logs_exports(self) -> list[str]:
        return self.lab_cluster.enabled_cloudwatch_logs_exports

    @enabled_cloudwatch_logs_exports.setter
    def enabled_cloudwatch_logs_exports(self, value: list[str]) -> None:
        """The cluster's alone."""

    @property
    def storage_encryption_type(self) -> str:
        return self.lab_cluster.storage_encryption_type

    @property
    def log_group(self) -> str:
        return f"/aws/rds/cluster/{self.lab_cluster.db_cluster_identifier}/postgresql"

    def started(self) -> None:
        super().started()
        self.cluster_apply_status = "in-sync"


class LabClusterSnapshot(DBClusterSnapshot):
    """A cluster snapshot with files behind it; its encryption is its own, not its cluster's."""

    __module__ = "moto.rds.models"

    def __init__(
        self,
        backend: RDSBackend,
        cluster: LabCluster,
        stored: Stored,
        kind: EncryptionType,
        volume_key: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backend, cluster, **kwargs)
        self.stored, self.volume_key, self.storage_encryption_type = stored, volume_key, kind
        self.encrypted = self.storage_encrypted = kind == "sse-kms"
        self.kms_key_id = volume_key if self.encrypted else None  # type: ignore[assignment]
        self.status = "creating"
        self.percent_progress = 0
        self.taken: datetime | None = None
        self.source_db_cluster_snapshot_arn: str | None = None
        self.original = copy.copy(cluster)
        """As it was when the snapshot was taken: what a restore inherits."""
        self.db_cluster_resource_id = cluster.db_cluster_resource_id
        self.cluster_create_time = cluster.cluster_create_time
        self.engine_mode = cluster.engine_mode
        self.storage_type = cluster.storage_type
        self.license_model = cluster.license_model
        self.availability_zones = cluster.availability_zones
        self.vpc_id = cluster.vpc_id
        self.backup_retention_period = cluster.backup_retention_period

    @property
    def snapshot_create_time(self) -> datetime:
        return self.taken or self.created


def cluster_settings(group: DBClusterParameterGroup) -> Mapping[str, Setting]:
    """What the user set in a cluster parameter group."""
    return from_moto(group.parameters.values())
