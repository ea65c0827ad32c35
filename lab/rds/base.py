"""What the parts of the lab's RDS backend share: the data plane, the checks, KMS keys as RDS takes them."""

import re
from collections.abc import Collection
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from moto.rds.exceptions import (
    DBInstanceNotFoundError,
    InvalidParameterCombination,
    KMSKeyNotAccessibleFault,
    RDSClientError,
)
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend

from encryptdb.lab.plane import Host, Plane
from encryptdb.lab.rds.models import LabInstance


class InvalidState(RDSClientError):
    """The code that botocore knows as InvalidDBInstanceStateFault (moto's own exception has another)."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidDBInstanceState", message)


class LabBackend(RDSBackend):
    """moto's backend for one account and region, in front of the lab's data plane."""

    __module__ = "moto.rds.models"
    plane: ClassVar[Plane]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        for family in (self.plane.binaries.family, self.plane.binaries.aurora_family):
            name = f"default.{family}"
            self.db_parameter_groups[name] = DBParameterGroup(  # type: ignore[abstract]
                backend=self,
                db_parameter_group_name=name,
                db_parameter_group_family=family,
                description=f"Default parameter group for {family}",
            )

    def instance(self, identifier: str) -> LabInstance:
        """By identifier or ARN. Raises DBInstanceNotFoundError."""
        found = self.describe_db_instances(identifier)[0]
        if not isinstance(found, LabInstance):
            raise DBInstanceNotFoundError(identifier)
        return found

    def host(self, database: DBInstance) -> Host:
        return self.plane.hosts[database.dbi_resource_id]

    @staticmethod
    def require(database: DBInstance, states: Collection[str], action: str) -> None:
        """Refuse as AWS does when the instance is in no state for this action."""
        if database.status not in states:
            wanted = " or ".join(sorted(states))
            raise InvalidState(
                f"Instance {database.db_instance_identifier} is not in {wanted} state: it is {database.status}, "
                f"so it cannot be used for {action}."
            )

    def _validate_kms_key(self, kms_key_id: str) -> str:
        """A key as RDS takes it (id, ARN, alias, alias ARN) to the key's ARN.

        moto crashes on an unknown alias, and takes a key of another region. DescribeKey makes an AWS managed key
        (alias/aws/rds) on its first use, as it does on AWS.
        """
        arn = re.match(r"arn:[\w-]+:kms:([\w-]+):(\d{12}):", kms_key_id)
        if arn is not None and arn[1] != self.region_name:
            raise KMSKeyNotAccessibleFault(kms_key_id)
        try:
            key: dict[str, Any] = self.plane.clients("kms").describe_key(KeyId=kms_key_id)["KeyMetadata"]
        except ClientError as error:
            raise KMSKeyNotAccessibleFault(kms_key_id) from error
        if not key["Enabled"]:
            raise KMSKeyNotAccessibleFault(kms_key_id)
        return str(key["Arn"])

    def check_engine(self, engine: object, version: object, wanted: str = "postgres") -> str:
        """The version that an instance gets. The lab has one PostgreSQL; a major version alone means its newest."""
        if engine != wanted:
            raise InvalidParameterCombination(f"The lab has no engine {engine} for this: it runs {wanted}.")
        binaries = self.plane.binaries
        if version is not None and str(version) not in (binaries.version, str(binaries.major)):
            raise InvalidParameterCombination(
                f"Cannot find version {version} for {wanted}: this lab has {binaries.version}."
            )
        return binaries.version
