"""DB cluster snapshots: take, copy, delete. Only what is encrypted already can be copied under a key."""

from typing import Any

from moto.core.utils import utcnow
from moto.rds.exceptions import (
    DBClusterSnapshotAlreadyExistsError,
    DBClusterSnapshotNotFoundError,
    InvalidDBClusterSnapshotStateFault,
    InvalidDBClusterStateFault,
    InvalidParameterCombination,
    SnapshotQuotaExceededFault,
)
from moto.rds.models import DBClusterSnapshot

from encryptdb.lab.rds.cluster_groups import ClusterGroups
from encryptdb.lab.rds.cluster_models import EncryptionType, LabCluster, LabClusterSnapshot
from encryptdb.lab.rds.transitions import LOCK, background


class ClusterSnapshots(ClusterGroups):
    """The life of DB cluster snapshots."""

    __module__ = "moto.rds.models"

    def cluster_snapshot(self, identifier: str) -> LabClusterSnapshot:
        """By identifier or ARN. Raises DBClusterSnapshotNotFoundError."""
        found = self.get_db_cluster_snapshot(identifier)
        if not isinstance(found, LabClusterSnapshot):
            raise DBClusterSnapshotNotFoundError(identifier)
        return found

    def describe_db_cluster_snapshots(
        self,
        db_cluster_identifier: str | None,
        db_snapshot_identifier: str,
        snapshot_type: str | None = None,
        filters: Any = None,
    ) -> list[DBClusterSnapshot]:
        if db_snapshot_identifier and db_snapshot_identifier.startswith("arn:"):
            db_snapshot_identifier = db_snapshot_identifier.split(":", 6)[6]
        found: list[DBClusterSnapshot] = super().describe_db_cluster_snapshots(
            db_cluster_identifier, db_snapshot_identifier, snapshot_type, filters
        )
        return found

    @staticmethod
    def require_cluster(cluster: LabCluster, action: str) -> None:
        """Refuse as AWS does while the cluster is not available."""
        if cluster.status != "available":
            raise InvalidDBClusterStateFault(
                f"DbCluster {cluster.db_cluster_identifier} is in {cluster.status} state but expected it to be one of "
                f"available for {action}."
            )

    def create_db_cluster_snapshot(
        self,
        db_cluster_identifier: str,
        db_cluster_snapshot_identifier: str,
        snapshot_type: str = "manual",
        tags: list[dict[str, str]] | None = None,
    ) -> DBClusterSnapshot:
        cluster = self.cluster(db_cluster_identifier)
        self.require_cluster(cluster, "a snapshot")
        snapshot = self.declare_cluster_snapshot(cluster, db_cluster_snapshot_identifier, snapshot_type, tags)
        cluster.status = "backing-up"

        def work() -> None:
            try:
                self.take_cluster(cluster, snapshot)
            finally:
                with LOCK:
                    cluster.status = "available"

        def failed(_: Exception) -> None:
            snapshot.status = "failed"

        background(f"snapshot {db_cluster_snapshot_identifier} of {db_cluster_identifier}", work, failed)
        return snapshot

    def declare_cluster_snapshot(
        self, cluster: LabCluster, name: str, kind: str = "manual", tags: list[dict[str, str]] | None = None
    ) -> LabClusterSnapshot:
        """A snapshot in state `creating`, with nothing in it yet."""
        self._cluster_room(name)
        snapshot = LabClusterSnapshot(
            self,
            cluster,
            self.plane.store(),
            cluster.storage_encryption_type,
            cluster.volume_key,
            snapshot_id=name,
            snapshot_type=kind,
            tags=tags,
        )
        self.cluster_snapshots[name] = snapshot
        return snapshot

    def take_cluster(self, cluster: LabCluster, snapshot: LabClusterSnapshot) -> None:
        """Fill a declared snapshot from the cluster's volume; blocks."""
        host = self.plane.hosts[cluster.db_cluster_resource_id]
        self.plane.snapshot(host, snapshot.stored, snapshot.volume_key)
        with LOCK:
            snapshot.taken, snapshot.percent_progress = utcnow(), 50
        self.plane.pause()
        self._cluster_snapshot_done(snapshot)

    def back_up_cluster(self, cluster: LabCluster) -> None:
        """The automated snapshot that a cluster begins with; blocks."""
        with LOCK:
            cluster.status = "backing-up"
            name = f"rds:{cluster.db_cluster_identifier}-{utcnow():%Y-%m-%d-%H-%M}"
            snapshot = self.declare_cluster_snapshot(cluster, name, "automated")
        try:
            self.take_cluster(cluster, snapshot)
        finally:
            with LOCK:
                cluster.status = "available"

    def copy_db_cluster_snapshot(
        self,
        source_db_cluster_snapshot_identifier: str,
        target_db_cluster_snapshot_identifier: str,
        kms_key_id: str | None = None,
        copy_tags: bool = False,
        tags: list[dict[str, str]] | None = None,
        **_: Any,
    ) -> DBClusterSnapshot:
        source = self.cluster_snapshot(source_db_cluster_snapshot_identifier)
        self._cluster_room(target_db_cluster_snapshot_identifier)
        if source.status != "available":
            raise InvalidDBClusterSnapshotStateFault(
                f"The snapshot {source_db_cluster_snapshot_identifier} is {source.status}, not available."
            )
        if kms_key_id and source.storage_encryption_type == "none":
            raise InvalidParameterCombination(
                f"KmsKeyId cannot be given for the copy of {source_db_cluster_snapshot_identifier}: that DB cluster "
                "snapshot is not encrypted. Restore it with KmsKeyId instead."
            )
        kind: EncryptionType = "sse-kms" if kms_key_id else source.storage_encryption_type
        key = self._validate_kms_key(kms_key_id) if kms_key_id else source.volume_key
        target = LabClusterSnapshot(
            self,
            source.original,
            self.plane.store(),
            kind,
            key,
            snapshot_id=target_db_cluster_snapshot_identifier,
            tags=tags or (source.tags if copy_tags else []) or [],
        )
        target.source_db_cluster_snapshot_arn = source.db_cluster_snapshot_arn
        target.taken = utcnow()
        self.cluster_snapshots[target_db_cluster_snapshot_identifier] = target

        def work() -> None:
            self.plane.copy(source.stored, target.stored, key)
            self.plane.pause()
            self._cluster_snapshot_done(target)

        def failed(_: Exception) -> None:
            target.status = "failed"

        what = f"copy {source_db_cluster_snapshot_identifier} to {target_db_cluster_snapshot_identifier}"
        background(what, work, failed)
        return target

    def delete_db_cluster_snapshot(self, db_snapshot_identifier: str) -> DBClusterSnapshot:
        snapshot = self.cluster_snapshot(db_snapshot_identifier)
        if snapshot.status not in ("available", "failed"):
            raise InvalidDBClusterSnapshotStateFault(f"The snapshot {db_snapshot_identifier} is {snapshot.status}.")
        if snapshot.snapshot_type == "automated":
            raise InvalidDBClusterSnapshotStateFault(
                "Automated snapshots are deleted with their cluster or after their retention."
            )
        return self._drop_cluster_snapshot(snapshot)

    def drop_automated_of(self, cluster: LabCluster) -> None:
        """Delete the cluster's automated snapshots."""
        for snapshot in list(self.cluster_snapshots.values()):
            mine = getattr(snapshot, "db_cluster_resource_id", None) == cluster.db_cluster_resource_id
            if mine and snapshot.snapshot_type == "automated" and isinstance(snapshot, LabClusterSnapshot):
                self._drop_cluster_snapshot(snapshot)

    def _drop_cluster_snapshot(self, snapshot: LabClusterSnapshot) -> LabClusterSnapshot:
        del self.cluster_snapshots[snapshot.db_cluster_snapshot_identifier]
        snapshot.status = "deleted"
        snapshot.stored.remove()
        return snapshot

    def _cluster_room(self, name: str) -> None:
        if name in self.cluster_snapshots:
            raise DBClusterSnapshotAlreadyExistsError(name)
        if len(self.cluster_snapshots) >= self.SNAPSHOT_QUOTA:
            raise SnapshotQuotaExceededFault()

    @staticmethod
    def _cluster_snapshot_done(snapshot: LabClusterSnapshot) -> None:
        with LOCK:
            snapshot.status, snapshot.percent_progress = "available", 100
