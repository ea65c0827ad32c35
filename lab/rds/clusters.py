"""Aurora clusters: create, restore, modify, delete. A cluster is a volume; servers come with instances."""

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.core.utils import utcnow
from moto.rds.exceptions import (
    DBClusterToBeDeletedHasActiveMembers,
    InvalidDBClusterSnapshotStateFault,
    InvalidParameterCombination,
    RDSClientError,
)
from moto.rds.models import DBCluster

from encryptdb.lab import readers
from encryptdb.lab.endpoint import Endpoints
from encryptdb.lab.plane import Host, KeyUnavailable
from encryptdb.lab.processes import wait_until
from encryptdb.lab.rds.cluster_models import ENGINE, EncryptionType, LabCluster
from encryptdb.lab.rds.cluster_power import ClusterPower
from encryptdb.lab.rds.members import WRITER_SECONDS, reader_for
from encryptdb.lab.rds.transitions import LOCK, background

# What a restored cluster has from its snapshot unless the call says otherwise.
FROM_SNAPSHOT = (
    "backup_retention_period",
    "database_name",
    "engine",
    "engine_version",
    "master_username",
    "preferred_backup_window",
    "preferred_maintenance_window",
)

OTHER_NAMES = {"enable_iam_database_authentication": "iam_auth"}
"""Parameters of ModifyDBCluster that moto keeps under another name."""


class Clusters(ClusterPower):
    """The life of clusters."""

    __module__ = "moto.rds.models"
    endpoints: ClassVar[Endpoints]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.retained: list[dict[str, Any]] = []
        """Automated backups of deleted clusters that were told to keep them."""
        self._owned_key: str | None = None

    def create_db_cluster(self, kwargs: dict[str, Any]) -> DBCluster:
        wanted = {key: value for key, value in dict(kwargs).items() if value is not None}
        name = wanted.pop("db_cluster_identifier")
        wanted["engine_version"] = self.check_engine(wanted.get("engine"), wanted.get("engine_version"), ENGINE)
        if not wanted.get("master_username") or not wanted.get("master_user_password"):
            raise RDSClientError("MissingParameter", "The lab's clusters need MasterUsername and MasterUserPassword.")
        encrypted, key_id = wanted.pop("storage_encrypted", None), wanted.pop("kms_key_id", None)
        if key_id and not encrypted:
            raise InvalidParameterCombination("KmsKeyId can be given only with StorageEncrypted.")
        # Said to be unencrypted, it is as clusters of before 2026-02-18 are; with nothing said, as AWS makes them now.
        kind: EncryptionType = "sse-kms" if encrypted else "none" if encrypted is False else "sse-rds"
        cluster = self._declare_cluster(name, wanted, kind, self._volume_key(kind, key_id))
        cluster.fresh = "made"

        def work() -> None:
            self._lay(cluster).cluster.initdb()
            self.plane.pause()
            self._cluster_is(cluster, "available")

        background(f"create the cluster {name}", work, lambda _: self._cluster_is(cluster, "failed"))
        return cluster

    def restore_db_cluster_from_snapshot(self, from_snapshot_id: str, overrides: Mapping[str, Any]) -> DBCluster:
        wanted = {key: value for key, value in dict(overrides).items() if value is not None}
        name = wanted.pop("db_cluster_identifier")
        wanted.pop("snapshot_identifier", None)
        snapshot = self.cluster_snapshot(from_snapshot_id)
        if snapshot.status != "available":
            raise InvalidDBClusterSnapshotStateFault(f"The snapshot {from_snapshot_id} is {snapshot.status}.")
        self.check_engine(wanted.get("engine"), wanted.get("engine_version"), ENGINE)
        key_id = wanted.pop("kms_key_id", None)
        kind: EncryptionType = "sse-kms" if key_id else snapshot.storage_encryption_type
        key = self._volume_key(kind, key_id) if key_id else snapshot.volume_key
        inherited = {key: getattr(snapshot.original, key) for key in FROM_SNAPSHOT}
        password = snapshot.original.password
        wanted.pop("engine_version", None)
        cluster = self._declare_cluster(name, inherited | wanted | {"master_user_password": password}, kind, key)

        def work() -> None:
            host = self._lay(cluster)
            self.plane.unpack(host, snapshot.stored)
            readers.forget_inherited_logs(host)
            self.plane.pause()
            self._cluster_is(cluster, "available")

        def failed(error: Exception) -> None:
            locked = isinstance(error, KeyUnavailable)
            self._cluster_is(cluster, "inaccessible-encryption-credentials" if locked else "failed")

        background(f"restore the cluster {name} from {from_snapshot_id}", work, failed)
        return cluster

    def modify_db_cluster(self, kwargs: dict[str, Any]) -> DBCluster:
        wanted = {key: value for key, value in dict(kwargs).items() if value is not None}
        cluster = self.cluster(wanted.pop("db_cluster_identifier"))
        self.require_cluster(cluster, "a modification")
        for noise in ("apply_immediately", "allow_major_version_upgrade", "new_db_cluster_identifier"):
            if wanted.pop(noise, None) and noise.startswith("new"):
                raise InvalidParameterCombination("This lab renames no clusters.")
        self.check_engine(ENGINE, wanted.pop("engine_version", None), ENGINE)
        if wanted.pop("port", self.plane.port) != self.plane.port:
            raise InvalidParameterCombination(f"In this lab every cluster has port {self.plane.port}.")
        password = wanted.pop("master_user_password", None)
        group = wanted.pop("db_cluster_parameter_group_name", cluster.group_name)
        attaches = self.cluster_group(group).name != cluster.group_name
        exports = wanted.pop("cloudwatch_logs_export_configuration", None) or {}
        cluster.status = "modifying"
        if attaches:
            cluster.parameter_group = group
            for member in cluster.instances:
                # Nothing of a newly attached group acts before the reboot, its dynamic parameters neither.
                member.attached, member.cluster_apply_status = True, "pending-reboot"

        def work() -> None:
            self.plane.pause()
            if password is not None:
                self._set_password(cluster, str(password))
            with LOCK:
                for key, value in wanted.items():
                    setattr(cluster, OTHER_NAMES.get(key, key), value)
                enabled = set(cluster.enabled_cloudwatch_logs_exports) | set(exports.get("EnableLogTypes") or [])
                left = enabled - set(exports.get("DisableLogTypes") or [])
                cluster.enabled_cloudwatch_logs_exports = sorted(left)
            self._cluster_is(cluster, "available")

        name = cluster.db_cluster_identifier
        background(f"modify the cluster {name}", work, lambda _: self._cluster_is(cluster, "failed"))
        return cluster

    def delete_db_cluster(
        self,
        cluster_identifier: str,
        snapshot_name: str | None = None,
        skip_final_snapshot: bool = False,
        delete_automated_backups: bool = True,
    ) -> DBCluster:
        cluster = self.cluster(cluster_identifier)
        if cluster.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected Cluster, please disable deletion protection and try again."
            )
        if any(m.status != "deleting" for m in cluster.instances):
            raise DBClusterToBeDeletedHasActiveMembers()
        if cluster.status in ("creating", "deleting", "modifying", "backing-up"):
            self.require_cluster(cluster, "a deletion")
        if bool(skip_final_snapshot) == bool(snapshot_name):
            raise InvalidParameterCombination(
                "Give either FinalDBSnapshotIdentifier or SkipFinalSnapshot, and not both of them."
            )
        final = self.declare_cluster_snapshot(cluster, snapshot_name) if snapshot_name else None
        before, cluster.status = cluster.status, "deleting"

        def work() -> None:
            wait_until(lambda: not cluster.instances, "the instances to be gone", WRITER_SECONDS, every=0.05)
            if final is not None:
                self.take_cluster(cluster, final)
            self.plane.pause()
            self.plane.destroy(cluster.db_cluster_resource_id)
            self.endpoints.close(cluster.reader_address)
            with LOCK:
                if delete_automated_backups:
                    self.drop_automated_of(cluster)
                else:
                    self.retained.append(backup(cluster, "retained"))
                del self.clusters[cluster.db_cluster_identifier]

        background(f"delete the cluster {cluster_identifier}", work, lambda _: self._cluster_is(cluster, before))
        return cluster

    def cluster_backups(self, resource_id: str | None, identifier: str | None) -> list[dict[str, Any]]:
        """What DescribeDBClusterAutomatedBackups lists: clusters that are, and what deleted ones have left."""
        standing = [backup(c, "active") for c in self.clusters.values() if isinstance(c, LabCluster)]
        return [
            found
            for found in [*standing, *self.retained]
            if resource_id in (None, found["DbClusterResourceId"])
            and identifier in (None, found["DBClusterIdentifier"])
        ]

    def _declare_cluster(
        self, name: str, wanted: dict[str, Any], kind: EncryptionType, volume_key: str | None
    ) -> LabCluster:
        """The cluster in state `creating`, with its addresses, after what AWS checks before it begins."""
        if name in self.clusters:
            raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
        self._validate_db_identifier(name)
        if wanted.get("engine_mode") not in (None, "provisioned"):
            raise InvalidParameterCombination(f"The lab has no engine mode {wanted['engine_mode']}.")
        group = wanted.get("db_cluster_parameter_group_name") or f"default.{self.plane.binaries.aurora_family}"
        wanted["db_cluster_parameter_group_name"] = self.cluster_group(group).name
        if (subnets := wanted.get("db_subnet_group_name")) is not None:
            self.describe_db_subnet_groups(subnets)
        if wanted.get("port") not in (None, self.plane.port, 5432):
            raise InvalidParameterCombination(f"In this lab every cluster has port {self.plane.port}.")
        wanted["port"] = self.plane.port
        addresses = self.plane.reserve(), self.plane.reserve()
        cluster = LabCluster(
            self, addresses=addresses, kind=kind, volume_key=volume_key, db_cluster_identifier=name, **wanted
        )
        cluster.cluster_create_time = utcnow()
        self.clusters[name] = cluster
        turns = itertools.count()
        self.endpoints.open(cluster.reader_address, lambda: reader_for(cluster, next(turns)))
        return cluster

    def _lay(self, cluster: LabCluster) -> Host:
        """The cluster's volume, empty."""
        return self.plane.prepare(
            cluster.db_cluster_resource_id, cluster.volume_key, cluster.address, [cluster.reader_address]
        )

    def _volume_key(self, kind: EncryptionType, key_id: str | None) -> str | None:
        if kind == "sse-kms":
            return self._validate_kms_key(key_id or "alias/aws/rds")
        if kind == "sse-rds":
            if self._owned_key is None:
                made = self.plane.clients("kms").create_key(Description="AWS owned key (in the lab it can be seen)")
                self._owned_key = str(made["KeyMetadata"]["Arn"])
            return self._owned_key
        return None

    def _set_password(self, cluster: LabCluster, password: str) -> None:
        writer = cluster.the_writer
        if writer is not None:
            self.plane.set_password(self.host(writer), str(cluster.master_username), password)
        cluster.password = password

    @staticmethod
    def _cluster_is(cluster: LabCluster, status: str) -> None:
        with LOCK:
            cluster.status = status


def backup(cluster: LabCluster, status: str) -> dict[str, Any]:
    """An element of DescribeDBClusterAutomatedBackups."""
    return {
        "DBClusterIdentifier": cluster.db_cluster_identifier,
        "DbClusterResourceId": cluster.db_cluster_resource_id,
        "DBClusterArn": cluster.db_cluster_arn,
        "Region": cluster.region,
        "Engine": cluster.engine,
        "EngineVersion": cluster.engine_version,
        "Status": status,
        "StorageEncrypted": cluster.storage_encrypted,
        "StorageEncryptionType": cluster.storage_encryption_type,
        "KmsKeyId": cluster.kms_key_id,
        "ClusterCreateTime": cluster.cluster_create_time,
        "BackupRetentionPeriod": cluster.backup_retention_period,
    }
