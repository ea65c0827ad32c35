"""DB parameter groups: what may be set, what acts at once, what is shown."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moto.rds.exceptions import (
    DBParameterGroupNotFoundError,
    InvalidParameterCombination,
    InvalidParameterValue,
    RDSClientError,
)
from moto.rds.models import DBParameterGroup

from encryptdb.lab import parameters
from encryptdb.lab.rds import models
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.modify import Modify

log = logging.getLogger(__name__)


class Groups(Modify):
    """The life of DB parameter groups."""

    __module__ = "moto.rds.models"

    def group(self, name: str) -> DBParameterGroup:
        """By name. Raises DBParameterGroupNotFoundError."""
        if name not in self.db_parameter_groups:
            raise DBParameterGroupNotFoundError(name)
        return self.db_parameter_groups[name]

    def describe_db_parameter_groups(self, db_parameter_group_kwargs: Any) -> list[DBParameterGroup]:
        name = db_parameter_group_kwargs.get("db_parameter_group_name")
        return [self.group(name)] if name else list(self.db_parameter_groups.values())

    def modify_db_parameter_group(
        self, db_parameter_group_name: str, db_parameter_group_parameters: Iterable[dict[str, Any]]
    ) -> DBParameterGroup:
        group = self._own(db_parameter_group_name, "modified")
        group.update_parameters(self.checked(db_parameter_group_parameters))
        self._changed(group)
        return group

    def checked(self, changes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The changes, each of which may be made in a parameter group. Raises what AWS answers to one that may not."""
        kept = list(changes)
        for change in kept:
            try:
                parameters.check(
                    self.plane.binaries.known,
                    change["ParameterName"],
                    str(change.get("ParameterValue", "")),
                    change.get("ApplyMethod", "pending-reboot"),
                )
            except parameters.BadMethod as error:
                raise InvalidParameterCombination(str(error)) from error
            except parameters.BadValue as error:
                raise InvalidParameterValue(str(error)) from error
        return kept

    def reset_db_parameter_group(self, name: str, names: Iterable[str] | None) -> DBParameterGroup:
        """Take back values that the user set: those named, or all (None)."""
        group = self._own(name, "reset")
        for parameter in list(group.parameters) if names is None else names:
            group.parameters.pop(parameter, None)
        self._changed(group)
        return group

    def delete_db_parameter_group(self, db_parameter_group_name: str) -> DBParameterGroup:
        group = self._own(db_parameter_group_name, "deleted")
        users = [d.db_instance_identifier for d in self._users(group)]
        if users:
            raise RDSClientError(
                "InvalidDBParameterGroupState",
                f"One or more database instances are still members of this parameter group {group.name}, "
                f"so the group cannot be deleted: {', '.join(users)}",
            )
        return super().delete_db_parameter_group(db_parameter_group_name)

    def parameter_rows(self, name: str, source: str | None) -> list[dict[str, Any]]:
        """What DescribeDBParameters shows; `source` is user, system or engine-default, None for all."""
        return self.rows(models.settings(self.group(name)), source)

    def rows(self, chosen: Mapping[str, parameters.Setting], source: str | None) -> list[dict[str, Any]]:
        """Every parameter there is, as a group that sets the `chosen` ones shows it."""
        rows = []
        for parameter in (known := self.plane.binaries.known).values():
            origin = "engine-default"
            value, method = parameter.default, "pending-reboot"
            if parameter.name in parameters.SYSTEM:
                origin, value = "system", parameters.SYSTEM[parameter.name]
            if (setting := chosen.get(parameter.name)) is not None:
                origin, value, method = "user", setting.value, setting.method
            row = {
                "ParameterName": parameter.name,
                "ParameterValue": value,
                "Description": parameter.description,
                "Source": origin,
                "ApplyType": "static" if parameter.static else "dynamic",
                "DataType": parameter.kind if parameter.kind in ("boolean", "integer") else "string",
                "AllowedValues": parameter.allowed,
                "IsModifiable": parameter.modifiable,
                "ApplyMethod": method,
            }
            rows.append({k: v for k, v in row.items() if v != ""})
        for other in chosen.keys() - known.keys():
            rows.append(_extension_row(other, chosen[other]))
        return [row for row in sorted(rows, key=lambda r: str(r["ParameterName"])) if source in (None, row["Source"])]

    def _own(self, name: str, what: str) -> DBParameterGroup:
        group = self.group(name)
        if group.name.startswith("default."):
            raise RDSClientError(
                "InvalidParameterValue", f"The parameter group {name} is a default group: it cannot be {what}."
            )
        return group

    def _users(self, group: DBParameterGroup) -> Iterator[LabInstance]:
        for database in self.databases.values():
            if isinstance(database, LabInstance) and database.group_name == group.name:
                yield database

    def _changed(self, group: DBParameterGroup) -> None:
        """Let the servers that started with this group have what may act at once; mark what waits."""
        for database in self._users(group):
            waiting = self.let_act(database)
            if waiting is not None:
                database.parameter_apply_status = "pending-reboot" if waiting else "in-sync"

    def let_act(self, database: LabInstance) -> list[str] | None:
        """Give a running server what may act at once of its groups as they are now; the parameters that wait for a
        reboot. None where all wait, because a group was attached since the start, and where nothing runs."""
        host = self.plane.hosts.get(database.dbi_resource_id)
        if host is None or database.attached or not host.running:
            return None
        chosen = self.chosen(database)
        values = parameters.reloaded(self.plane.binaries.known, host.running, chosen)
        if values != host.running:
            self.plane.reload(host, values)
        waiting = parameters.pending(values, chosen)
        log.info("%s: its parameters changed; pending reboot: %s", database.db_instance_identifier, waiting)
        return waiting


def _extension_row(name: str, setting: parameters.Setting) -> dict[str, Any]:
    return {
        "ParameterName": name,
        "ParameterValue": setting.value,
        "Description": "A parameter of an extension.",
        "Source": "user",
        "ApplyType": "dynamic",
        "DataType": "string",
        "IsModifiable": True,
        "ApplyMethod": setting.method,
    }
