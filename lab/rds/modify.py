"""ModifyDBInstance: what acts at once, what waits for the maintenance window, what needs a reboot."""

from collections.abc import Mapping
from typing import Any

from moto.rds.exceptions import DBInstanceAlreadyExists, DBParameterGroupNotFoundError, InvalidParameterCombination
from moto.rds.models import DBInstance

from encryptdb.lab.rds.instances import Instances
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.transitions import LOCK, background

# Without ApplyImmediately these wait for the maintenance window. moto's name → PendingModifiedValues' name.
DEFERRABLE = {
    "allocated_storage": "AllocatedStorage",
    "db_instance_class": "DBInstanceClass",
    "db_subnet_group_name": "DBSubnetGroupName",
    "iops": "Iops",
    "multi_az": "MultiAZ",
    "new_db_instance_identifier": "DBInstanceIdentifier",
    "storage_type": "StorageType",
}
RESTARTS = {"db_instance_class", "new_db_instance_identifier"}
MODIFIABLE = {"available", "stopped", "incompatible-parameters", "storage-optimization"}


class Modify(Instances):
    """Changing a DB instance."""

    __module__ = "moto.rds.models"

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: Mapping[str, Any]) -> DBInstance:
        database = self.instance(db_instance_identifier)
        self.require(database, MODIFIABLE, "modify")
        wanted = {key: value for key, value in dict(db_kwargs).items() if value is not None}
        for noise in ("db_instance_identifier", "allow_major_version_upgrade", "certificate_rotation_restart"):
            wanted.pop(noise, None)
        now = bool(wanted.pop("apply_immediately", False))
        if "new_db_instance_identifier" in wanted:
            self._check_name(database, wanted)
        if wanted.pop("engine_version", database.engine_version) not in (
            database.engine_version,
            str(self.plane.binaries.major),
        ):
            raise InvalidParameterCombination(f"This lab has only version {database.engine_version}.")
        if wanted.pop("db_port_number", self.plane.port) != self.plane.port:
            raise InvalidParameterCombination(f"In this lab every instance has port {self.plane.port}.")
        group = wanted.pop("db_parameter_group_name", None)
        if group is not None and group not in self.db_parameter_groups:
            raise DBParameterGroupNotFoundError(group)
        changes = {key: value for key, value in wanted.items() if _current(database, key) != value}
        database.deferred |= {key: value for key, value in changes.items() if key in DEFERRABLE}
        at_once = {key: value for key, value in changes.items() if key not in DEFERRABLE}
        act = dict(database.deferred) if now else {}
        self._show_pending(database)
        attaches = group is not None and group != database.group_name
        if attaches:
            database.db_parameter_group_name, database.parameter_apply_status = group, "applying"
        if at_once or act or attaches:
            self._begin(database, at_once, act, attaches)
        return database

    def _begin(self, database: LabInstance, at_once: dict[str, Any], act: dict[str, Any], attaches: bool) -> None:
        before = database.status
        restart = bool(RESTARTS & act.keys()) and before == "available"
        database.status = "renaming" if "new_db_instance_identifier" in act else "modifying"

        def work() -> None:
            self.plane.pause()
            password = at_once.pop("master_user_password", None)
            if password is not None:
                self.plane.set_password(self.host(database), str(database.master_username), str(password))
            with LOCK:
                self._apply(database, at_once | act)
                if attaches:
                    # Nothing of a newly attached group acts before the reboot, its dynamic parameters neither.
                    database.attached, database.parameter_apply_status = True, "pending-reboot"
                if restart:
                    database.status = "rebooting"
            if restart:
                # The outage of a class change or a rename is a restart, but not the reboot that applies a group.
                host = self.host(database)
                self.plane.halt(host)
                self.plane.pause()
                self.plane.boot(host, host.running)
            self._settle(database, before)

        background(f"modify {database.db_instance_identifier}", work, lambda _: self._settle(database, "failed"))

    def _apply(self, database: LabInstance, changes: dict[str, Any]) -> None:
        exports = changes.pop("cloudwatch_logs_export_configuration", None) or {}
        enabled = set(database.enabled_cloudwatch_logs_exports) | set(exports.get("EnableLogTypes") or [])
        database.enabled_cloudwatch_logs_exports = sorted(enabled - set(exports.get("DisableLogTypes") or []))
        name = changes.pop("new_db_instance_identifier", None)
        if name is not None:
            del self.databases[database.db_instance_identifier]
            database.db_instance_identifier = name
            self.databases[name] = database
            database.deferred.pop("new_db_instance_identifier", None)
        if "enable_performance_insights" in changes:
            database.performance_insights_enabled = bool(changes.pop("enable_performance_insights"))
        database.update(**changes)
        for key in changes:
            database.deferred.pop(key, None)
        self._show_pending(database)

    def _check_name(self, database: LabInstance, wanted: dict[str, Any]) -> None:
        name = str(wanted["new_db_instance_identifier"]).lower()
        if name == database.db_instance_identifier:
            del wanted["new_db_instance_identifier"]
            return
        self._validate_db_identifier(name)
        if name in self.databases:
            raise DBInstanceAlreadyExists()
        wanted["new_db_instance_identifier"] = name

    @staticmethod
    def _show_pending(database: LabInstance) -> None:
        database.pending_modified_values = {DEFERRABLE[key]: value for key, value in database.deferred.items()}


def _current(database: LabInstance, key: str) -> object:
    """What the instance has; None where it does not say (a password)."""
    if key == "db_subnet_group_name":
        return getattr(getattr(database, "db_subnet_group", None), "name", None)
    try:
        return getattr(database, key, None)
    except NotImplementedError:
        return None
