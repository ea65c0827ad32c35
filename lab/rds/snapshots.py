"""DB snapshots: take, copy (and encrypt), delete. The bytes behind them are in lab.vault."""

import logging
from datetime import datetime
from typing import Any

from moto.core.utils import utcnow
from moto.rds.exceptions import DBSnapshotAlreadyExistsError, RDSClientError, SnapshotQuotaExceededFault
from moto.rds.models import DBInstance, DBSnapshot

from encryptdb.lab.rds.base import LabBackend
from encryptdb.lab.rds.models import LabInstance, LabSnapshot
from encryptdb.lab.rds.transitions import LOCK, background

log = logging.getLogger(__name__)


class Snapshots(LabBackend):
    """The life of DB snapshots."""

    __module__ = "moto.rds.models"

    def snapshot(self, identifier: str) -> LabSnapshot:
        """By identifier or ARN. Raises DBSnapshotNotFoundFault."""
        found = self.get_db_snapshot(identifier)
        assert isinstance(found, LabSnapshot)
        return found

    def describe_db_snapshots(
        self,
        db_instance_identifier: str | None,
        db_snapshot_identifier: str | None = None,
        snapshot_type: str | None = None,
        filters: dict[str, Any] | None = None,
    ) -> list[DBSnapshot]:
        if db_snapshot_identifier and db_snapshot_identifier.startswith("arn:"):
            db_snapshot_identifier = db_snapshot_identifier.split(":", 6)[6]
        return super().describe_db_snapshots(db_instance_identifier, db_snapshot_identifier, snapshot_type, filters)

    def create_db_snapshot(
        self,
        db_instance_identifier: str,
        db_snapshot_identifier: str,
        snapshot_type: str = "manual",
        tags: list[dict[str, str]] | None = None,
        original_created_at: datetime | None = None,
        kms_key_id: str | None = None,
    ) -> DBSnapshot:
        database = self.instance(db_instance_identifier)
        self.require(database, {"available", "stopped"}, "a snapshot")
        snapshot = self.declare_snapshot(database, db_snapshot_identifier, snapshot_type, tags)
        before, database.status = database.status, "backing-up"

        def work() -> None:
            try:
                self.take(database, snapshot)
            finally:
                with LOCK:
                    database.status = before

        def failed(_: Exception) -> None:
            snapshot.status = "failed"

        background(f"snapshot {db_snapshot_identifier} of {db_instance_identifier}", work, failed)
        return snapshot

    def declare_snapshot(
        self, database: LabInstance, name: str, kind: str = "manual", tags: list[dict[str, str]] | None = None
    ) -> LabSnapshot:
        """A snapshot in state `creating`, with nothing in it yet."""
        self._room(name)
        snapshot = LabSnapshot(
            self, database, self.plane.store(), database.kms_key_id, snapshot_id=name, snapshot_type=kind, tags=tags
        )
        self.database_snapshots[name] = snapshot
        return snapshot

    def take(self, database: LabInstance, snapshot: LabSnapshot) -> None:
        """Fill a declared snapshot from the instance's volume; blocks."""
        held = self.plane.snapshot(self.host(database), snapshot.stored, snapshot.kms_key_id)
        log.info("snapshot %s: the server was held for %.0f ms", snapshot.db_snapshot_identifier, held * 1000)
        with LOCK:
            snapshot.taken, snapshot.percent_progress = utcnow(), 50
        self.plane.pause()
        self._done(snapshot)

    def back_up(self, database: LabInstance) -> None:
        """The automated snapshot that an instance with a backup retention period begins with; blocks."""
        name = f"rds:{database.db_instance_identifier}-{utcnow():%Y-%m-%d-%H-%M}"
        with LOCK:
            database.status = "backing-up"
            snapshot = self.declare_snapshot(database, name, "automated")
        self.take(database, snapshot)

    def copy_db_snapshot(
        self,
        source_db_snapshot_identifier: str,
        target_db_snapshot_identifier: str,
        kms_key_id: str | None = None,
        tags: list[dict[str, str]] | None = None,
        copy_tags: bool | None = False,
        **_: Any,
    ) -> DBSnapshot:
        source = self.snapshot(source_db_snapshot_identifier)
        self._room(target_db_snapshot_identifier)
        if source.status != "available":
            raise RDSClientError(
                "InvalidDBSnapshotState",
                f"The snapshot {source_db_snapshot_identifier} is {source.status}, not available.",
            )
        # Without a key the copy of an encrypted snapshot stays under the key it has; one that is plain stays plain.
        key_arn = self._validate_kms_key(kms_key_id) if kms_key_id else source.kms_key_id
        target = LabSnapshot(
            self,
            source.database,
            self.plane.store(),
            key_arn,
            snapshot_id=target_db_snapshot_identifier,
            tags=tags or (source.tags if copy_tags else []) or [],
            original_created_at=source.original_snapshot_create_time,
        )
        target.source_db_snapshot_identifier = source.db_snapshot_arn
        target.taken = utcnow()
        self.database_snapshots[target_db_snapshot_identifier] = target

        def work() -> None:
            self.plane.copy(source.stored, target.stored, key_arn)
            self.plane.pause()
            self._done(target)

        def failed(_: Exception) -> None:
            target.status = "failed"

        background(f"copy {source_db_snapshot_identifier} to {target_db_snapshot_identifier}", work, failed)
        return target

    def delete_db_snapshot(self, db_snapshot_identifier: str) -> DBSnapshot:
        snapshot = self.snapshot(db_snapshot_identifier)
        if snapshot.status not in ("available", "failed"):
            raise RDSClientError(
                "InvalidDBSnapshotState", f"The snapshot {db_snapshot_identifier} is {snapshot.status}."
            )
        if snapshot.snapshot_type == "automated":
            raise RDSClientError(
                "InvalidDBSnapshotState",
                "Automated snapshots are deleted with their instance or after their retention.",
            )
        return self._drop(snapshot)

    def drop_automated(self, database: DBInstance) -> None:
        """Delete the instance's automated snapshots."""
        for snapshot in list(self.database_snapshots.values()):
            mine = snapshot.dbi_resource_id == database.dbi_resource_id
            if mine and snapshot.snapshot_type == "automated" and isinstance(snapshot, LabSnapshot):
                self._drop(snapshot)

    def _drop(self, snapshot: LabSnapshot) -> LabSnapshot:
        del self.database_snapshots[snapshot.db_snapshot_identifier]
        snapshot.status = "deleted"
        snapshot.stored.remove()
        return snapshot

    def _room(self, name: str) -> None:
        if name in self.database_snapshots:
            raise DBSnapshotAlreadyExistsError(name)
        if len(self.database_snapshots) >= self.SNAPSHOT_QUOTA:
            raise SnapshotQuotaExceededFault()

    @staticmethod
    def _done(snapshot: LabSnapshot) -> None:
        with LOCK:
            snapshot.status, snapshot.percent_progress = "available", 100
