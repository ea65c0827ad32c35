"""moto's DB instance, snapshot and parameter group with what they lack. Plain data: copying them must stay harmless."""

import random
import string
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.rds.models import DBInstance, DBParameterGroup, DBSnapshot, RDSBackend

from encryptdb.lab.parameters import Setting, from_moto
from encryptdb.lab.vault import Stored


class LabInstance(DBInstance):
    """A DB instance whose endpoint is a real server's."""

    # moto finds a model's service in its module's name.
    __module__ = "moto.rds.models"

    def __init__(self, backend: RDSBackend, **kwargs: Any) -> None:
        super().__init__(backend=backend, **kwargs)
        # moto gives every instance the same one; IAM policies, backups and our own checks tell instances apart by it.
        self.dbi_resource_id = "db-" + "".join(random.choices(string.ascii_uppercase + string.digits, k=26))
        self.status = "creating"
        self.host: str | None = None
        self.parameter_apply_status = "in-sync"
        self.attached: bool = False
        """Whether another parameter group was attached since the last start."""
        self.pending_modified_values: dict[str, Any] = {}
        self.deferred: dict[str, Any] = {}
        """Modifications that wait for the maintenance window, under moto's names."""
        self.performance_insights_enabled = bool(kwargs.get("enable_performance_insights"))
        self.network_type = "IPV4"
        self.enabled_cloudwatch_logs_exports = list(self.enabled_cloudwatch_logs_exports)

    @property
    def db_instance_status(self) -> str:
        return self.status

    @property
    def endpoint(self) -> dict[str, Any] | None:  # type: ignore[override]
        """None until the server is there: AWS shows no endpoint while an instance is being created."""
        if self.host is None:
            return None
        return {"Address": self.host, "Port": self.port, "HostedZoneId": "Z2R2ITUGPM61AM"}

    @property
    def address(self) -> str:
        return self.host or ""

    @property
    def db_instance_port(self) -> int:
        return 0  # AWS gives 0 for instances outside clusters; the port is in Endpoint

    @property
    def storage_encryption_type(self) -> str:
        return "sse-kms" if self.storage_encrypted else "none"

    @property
    def family(self) -> str:
        """Of its parameter group."""
        return f"{self.engine if self.engine.startswith('aurora') else 'postgres'}{self.engine_version.split('.')[0]}"

    @property
    def group_name(self) -> str:
        return self.db_parameter_group_name or f"default.{self.family}"

    @property
    def log_group(self) -> str:
        """In CloudWatch, where its server's log is exported to."""
        return f"/aws/rds/instance/{self.db_instance_identifier}/postgresql"

    def started(self) -> None:
        """Its server has just started with its parameter group as it is."""
        self.attached, self.parameter_apply_status = False, "in-sync"

    @property
    def db_parameter_group_status_list(self) -> list[dict[str, str]]:
        return [{"DBParameterGroupName": self.group_name, "ParameterApplyStatus": self.parameter_apply_status}]

    def default_db_parameter_group_details(self) -> tuple[str, str]:
        return self.family, f"default.{self.family}"


class LabSnapshot(DBSnapshot):
    """A DB snapshot with files behind it. `encrypted` and the key are its own, not its instance's."""

    __module__ = "moto.rds.models"

    def __init__(
        self, backend: RDSBackend, database: DBInstance, stored: Stored, key_arn: str | None, **kwargs: Any
    ) -> None:
        super().__init__(backend, database, **kwargs)
        self.stored = stored
        self.kms_key_id = key_arn
        self.encrypted = self.storage_encrypted = key_arn is not None
        self.status = "creating"
        self.percent_progress = 0
        self.taken: datetime | None = None
        self.storage_type = database.storage_type
        self.availability_zone = database.availability_zone
        self.license_model = database.license_model
        self.option_group_name = database.option_group_name
        self.instance_create_time = database.instance_create_time
        self.source_db_snapshot_identifier: str | None = None

    @property
    def storage_encryption_type(self) -> str:
        return "sse-kms" if self.encrypted else "none"

    @property
    def snapshot_create_time(self) -> datetime:
        return self.taken or self.created


def settings(group: DBParameterGroup) -> Mapping[str, Setting]:
    """What the user set in a parameter group."""
    return from_moto(group.parameters.values())
