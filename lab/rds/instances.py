"""DB instances: create, restore, reboot, stop, start, delete. Changing one is in modify.py."""

from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow
from moto.rds.exceptions import (
    DBInstanceAlreadyExists,
    DBParameterGroupNotFoundError,
    InvalidParameterCombination,
    RDSClientError,
)
from moto.rds.models import DBInstance

from encryptdb.lab import parameters
from encryptdb.lab.plane import Host, KeyUnavailable
from encryptdb.lab.rds import models
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.snapshots import Snapshots
from encryptdb.lab.rds.transitions import LOCK, background

# What a restored instance has from its snapshot unless the call says otherwise; all else is as if newly created.
# Source: RestoreDBInstanceFromDBSnapshot in the RDS API reference.
FROM_SNAPSHOT = (
    "allocated_storage",
    "availability_zone",
    "backup_retention_period",
    "db_instance_class",
    "db_name",
    "engine",
    "engine_version",
    "iops",
    "license_model",
    "master_username",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "storage_type",
)


class Instances(Snapshots):
    """The life of DB instances."""

    __module__ = "moto.rds.models"

    def create_db_instance(self, db_kwargs: Mapping[str, Any]) -> DBInstance:
        wanted = dict(db_kwargs)
        name = wanted.pop("db_instance_identifier")
        password = wanted.pop("master_user_password", None)
        if not wanted.get("master_username") or not password:
            raise RDSClientError("MissingParameter", "The lab's instances need MasterUsername and MasterUserPassword.")
        wanted["engine_version"] = self.check_engine(wanted.get("engine"), wanted.get("engine_version"))
        key_arn = self._key_for(wanted)
        database = self._declare(name, wanted | {"kms_key_id": key_arn})
        user, first = str(wanted["master_username"]), wanted.get("db_name")

        def work() -> None:
            host = self.plane.create(database.dbi_resource_id, key_arn, self.values(database))
            self.plane.furnish(host, user, str(password), first)
            self._appear(database, host)
            if database.backup_retention_period:
                self.back_up(database)
            self._settle(database, "available")

        background(f"create {name}", work, lambda _: self._settle(database, "failed"))
        return database

    def restore_db_instance_from_db_snapshot(self, from_snapshot_id: str, overrides: Mapping[str, Any]) -> DBInstance:
        wanted = dict(overrides)
        name = wanted.pop("db_instance_identifier")
        wanted.pop("db_snapshot_identifier", None)
        if wanted.pop("manage_master_user_password", None):
            raise InvalidParameterCombination(
                "ManageMasterUserPassword is not supported for a restore of engine postgres."
            )
        snapshot = self.snapshot(from_snapshot_id)
        if snapshot.status != "available":
            raise RDSClientError("InvalidDBSnapshotState", f"The snapshot {from_snapshot_id} is {snapshot.status}.")
        origin = snapshot.database
        if int(wanted.get("allocated_storage") or snapshot.allocated_storage) < snapshot.allocated_storage:
            raise InvalidParameterCombination("The allocated storage size can't be less than the snapshot's.")
        inherited = {key: getattr(origin, key) for key in FROM_SNAPSHOT}
        given = {key: value for key, value in wanted.items() if value is not None}
        database = self._declare(
            name, inherited | given | {"kms_key_id": snapshot.kms_key_id, "storage_encrypted": bool(snapshot.encrypted)}
        )

        def work() -> None:
            stored, key_arn = snapshot.stored, snapshot.kms_key_id
            host = self.plane.restore(database.dbi_resource_id, key_arn, stored, self.values(database))
            self._appear(database, host)
            if database.backup_retention_period:
                self._settle(database, "backing-up")
                self.plane.pause()
            self._settle(database, "available")

        def failed(error: Exception) -> None:
            locked = isinstance(error, KeyUnavailable)
            self._settle(database, "inaccessible-encryption-credentials" if locked else "incompatible-restore")

        background(f"restore {name} from {from_snapshot_id}", work, failed)
        return database

    def reboot_db_instance(self, db_instance_identifier: str) -> DBInstance:
        database = self.instance(db_instance_identifier)
        self.require(database, {"available", "incompatible-parameters"}, "reboot")
        database.status = "rebooting"
        self._restart(database, f"reboot {db_instance_identifier}")
        return database

    def stop_db_instance(self, db_instance_identifier: str, db_snapshot_identifier: str | None = None) -> DBInstance:
        database = self.instance(db_instance_identifier)
        self.require(database, {"available"}, "stop")
        host = self.host(database)
        taking = self.declare_snapshot(database, db_snapshot_identifier) if db_snapshot_identifier else None
        database.status = "stopping"

        def work() -> None:
            if taking is not None:
                self.take(database, taking)
            self.plane.pause()
            self.plane.halt(host)
            self._settle(database, "stopped")

        background(f"stop {db_instance_identifier}", work, lambda _: self._settle(database, "failed"))
        return database

    def start_db_instance(self, db_instance_identifier: str) -> DBInstance:
        database = self.instance(db_instance_identifier)
        self.require(database, {"stopped"}, "start")
        database.status = "starting"
        self._restart(database, f"start {db_instance_identifier}")
        return database

    def delete_db_instance(
        self,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> DBInstance:
        database = self.instance(db_instance_identifier)
        if database.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected DB Instance, please disable deletion protection and try again."
            )
        if database.status in ("deleting", "creating", "backing-up", "rebooting", "renaming"):
            self.require(database, {"available", "stopped", "failed"}, "delete")
        if not skip_final_snapshot and not final_db_snapshot_identifier:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
        if skip_final_snapshot and final_db_snapshot_identifier:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier cannot be given together with SkipFinalSnapshot."
            )
        final = None if skip_final_snapshot else self.declare_snapshot(database, str(final_db_snapshot_identifier))
        before, database.status = database.status, "deleting"

        def work() -> None:
            if final is not None:
                self.take(database, final)
            self.plane.pause()
            self.plane.destroy(database.dbi_resource_id)
            with LOCK:
                if delete_automated_backups:
                    self.drop_automated(database)
                del self.databases[database.db_instance_identifier]

        background(f"delete {db_instance_identifier}", work, lambda _: self._settle(database, before))
        return database

    def values(self, database: LabInstance) -> dict[str, str]:
        """What the instance's server gets at its next start."""
        return parameters.effective(self.chosen(database))

    def chosen(self, database: LabInstance) -> Mapping[str, parameters.Setting]:
        """What users set in the parameter groups that are meant for this instance."""
        return models.settings(self.db_parameter_groups[database.group_name])

    def _restart(self, database: LabInstance, what: str) -> None:
        """Stop (if it runs) and start with the group as it is now: what makes static parameters act."""

        def work() -> None:
            host = self.host(database)
            self.plane.halt(host)
            self.plane.pause()
            self.plane.boot(host, self.values(database))
            with LOCK:
                database.started()
            self._settle(database, "available")

        background(what, work, lambda _: self._settle(database, "incompatible-parameters"))

    def _key_for(self, wanted: Mapping[str, Any]) -> str | None:
        if wanted.get("kms_key_id") and not wanted.get("storage_encrypted"):
            raise InvalidParameterCombination("KmsKeyId can be given only with StorageEncrypted.")
        return (
            self._validate_kms_key(wanted.get("kms_key_id") or "alias/aws/rds")
            if wanted.get("storage_encrypted")
            else None
        )

    def _declare(self, name: str, wanted: dict[str, Any], kind: type[LabInstance] = LabInstance) -> LabInstance:
        """The instance in state `creating`, after what AWS checks before it begins."""
        if name in self.databases:
            raise DBInstanceAlreadyExists()
        self._validate_db_identifier(name)
        group = wanted.get("db_parameter_group_name")
        if group and group not in self.db_parameter_groups:
            raise DBParameterGroupNotFoundError(group)
        if wanted.get("port") not in (None, self.plane.port, 5432):
            raise InvalidParameterCombination(f"In this lab every instance has port {self.plane.port}.")
        wanted["port"] = self.plane.port
        wanted["publicly_accessible"] = bool(wanted.get("publicly_accessible"))
        database = kind(backend=self, db_instance_identifier=name, **wanted)
        # ServerTime of the request, whole milliseconds: everything that the server itself writes comes later.
        database.instance_create_time = utcnow()
        self.databases[name] = database
        database.add_event("DB_INSTANCE_CREATE")
        return database

    def _appear(self, database: LabInstance, host: Host) -> None:
        self.plane.pause()
        with LOCK:
            database.host = host.address

    @staticmethod
    def _settle(database: DBInstance, status: str) -> None:
        with LOCK:
            database.status = status
