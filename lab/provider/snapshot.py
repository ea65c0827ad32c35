"""aws:rds/snapshot:Snapshot, aws:rds/snapshotCopy:SnapshotCopy and aws:rds/clusterSnapshot:ClusterSnapshot"""

from dataclasses import dataclass
from typing import Any, ClassVar

from encryptdb.lab.provider.base import (
    Calls,
    Handler,
    Properties,
    ProviderError,
    as_tag_list,
    as_tags,
    retag_rds,
    same_tags,
)
from encryptdb.lab.provider.states import gone

STATE_SECONDS = 120.0
"""How long a database may be in a state that allows no snapshot."""


@dataclass(frozen=True)
class Api:
    """What the RDS API calls the operations on one kind of snapshot and the parts of their answers; outputs' names."""

    create: str
    describe: str
    delete: str
    absent: tuple[str, ...]
    unready: str
    """AWS's code where the database allows no snapshot in the state it is in."""
    identifier: str
    database: str
    snapshots: str
    arn: str
    encrypted: str
    arn_output: str
    encrypted_output: str


INSTANCE_API = Api(
    create="create_db_snapshot",
    describe="describe_db_snapshots",
    delete="delete_db_snapshot",
    absent=("DBSnapshotNotFound", "DBSnapshotNotFoundFault"),
    unready="InvalidDBInstanceState",
    identifier="DBSnapshotIdentifier",
    database="DBInstanceIdentifier",
    snapshots="DBSnapshots",
    arn="DBSnapshotArn",
    encrypted="Encrypted",
    arn_output="dbSnapshotArn",
    encrypted_output="encrypted",
)

CLUSTER_API = Api(
    create="create_db_cluster_snapshot",
    describe="describe_db_cluster_snapshots",
    delete="delete_db_cluster_snapshot",
    absent=("DBClusterSnapshotNotFound", "DBClusterSnapshotNotFoundFault"),
    unready="InvalidDBClusterState",
    identifier="DBClusterSnapshotIdentifier",
    database="DBClusterIdentifier",
    snapshots="DBClusterSnapshots",
    arn="DBClusterSnapshotArn",
    encrypted="StorageEncrypted",
    arn_output="dbClusterSnapshotArn",
    encrypted_output="storageEncrypted",
)


class _AnySnapshot(Handler):
    """What all have in common: a snapshot, whose id is its identifier."""

    api: ClassVar[Api]

    readable = frozenset({"tags"})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = self._describe(calls, identity)
        return None if found is None else self._outputs(found)

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        outputs = self.read(calls, identity)
        if outputs is None:
            raise ProviderError(f"the snapshot {identity} is gone")
        if "tags" in changed:
            retag_rds(calls, outputs[self.api.arn_output], inputs.get("tags") or {})
        return outputs | inputs

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        calls.find("rds", self.api.delete, self.api.absent, **{self.api.identifier: identity})
        calls.wait(f"the snapshot {identity} to be gone", seconds, lambda: gone(self._status(calls, identity)))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        name = str(inputs[self.named_by or ""])
        found = self._describe(calls, name)
        return name if found and same_tags(inputs, found.get("TagList")) else None

    def settle(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        calls.wait(f"the snapshot {identity} to be available", seconds, lambda: self._available(calls, identity))

    def _take(self, calls: Calls, name: str, database: str, inputs: Properties, seconds: float) -> Properties:
        """Take a snapshot of a database, and wait for it; its outputs."""

        def unready(error: ProviderError) -> bool:
            return error.code.startswith(self.api.unready)

        arguments: dict[str, Any] = {
            self.api.identifier: name,
            self.api.database: database,
            "Tags": as_tag_list(inputs.get("tags")),
        }
        calls.insist(min(seconds, STATE_SECONDS), unready, "rds", self.api.create, **arguments)
        return self._made(calls, name, inputs, seconds)

    def _made(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> Properties:
        self.settle(calls, identity, inputs, seconds)
        return inputs | (self.read(calls, identity) or {})

    def _describe(self, calls: Calls, identifier: str) -> dict[str, Any] | None:
        found = calls.find("rds", self.api.describe, self.api.absent, **{self.api.identifier: identifier})
        return found[self.api.snapshots][0] if found and found[self.api.snapshots] else None

    def _status(self, calls: Calls, identifier: str) -> str | None:
        found = self._describe(calls, identifier)
        return found["Status"] if found else None

    def _available(self, calls: Calls, identifier: str) -> tuple[bool, str]:
        found = self._describe(calls, identifier)
        if found is None:
            raise ProviderError(f"the snapshot {identifier} disappeared while it was being made")
        if found["Status"] == "failed":
            raise ProviderError(
                f"the snapshot {identifier} failed; see its database's events (aws rds describe-events)"
            )
        return found["Status"] == "available", f"{found['Status']}, {found.get('PercentProgress', 0)} %"

    def _outputs(self, found: dict[str, Any]) -> Properties:
        tags = as_tags(found.get("TagList"))
        return {
            self.api.arn_output: found[self.api.arn],
            self.api.encrypted_output: bool(found.get(self.api.encrypted)),
            "engine": found.get("Engine", ""),
            "engineVersion": found.get("EngineVersion", ""),
            "kmsKeyId": found.get("KmsKeyId") or "",
            "snapshotType": found.get("SnapshotType", ""),
            "status": found["Status"],
            "tags": tags,
            "tagsAll": tags,
        }


class Snapshot(_AnySnapshot):
    """A manual snapshot of an instance."""

    api = INSTANCE_API
    replaced_by = frozenset({"dbInstanceIdentifier", "dbSnapshotIdentifier"})
    named_by = "dbSnapshotIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        name = str(inputs["dbSnapshotIdentifier"])
        return name, self._take(calls, name, inputs["dbInstanceIdentifier"], inputs, seconds)


class ClusterSnapshot(_AnySnapshot):
    """A manual snapshot of an Aurora cluster."""

    api = CLUSTER_API
    replaced_by = frozenset({"dbClusterIdentifier", "dbClusterSnapshotIdentifier"})
    named_by = "dbClusterSnapshotIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        name = str(inputs["dbClusterSnapshotIdentifier"])
        return name, self._take(calls, name, inputs["dbClusterIdentifier"], inputs, seconds)


class SnapshotCopy(_AnySnapshot):
    """A copy of a snapshot, encrypted under another key."""

    api = INSTANCE_API
    replaced_by = frozenset({"sourceDbSnapshotIdentifier", "targetDbSnapshotIdentifier", "kmsKeyId", "copyTags"})
    named_by = "targetDbSnapshotIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        arguments: dict[str, Any] = {
            "SourceDBSnapshotIdentifier": inputs["sourceDbSnapshotIdentifier"],
            "TargetDBSnapshotIdentifier": inputs["targetDbSnapshotIdentifier"],
            "Tags": as_tag_list(inputs.get("tags")),
        }
        if inputs.get("kmsKeyId"):
            arguments["KmsKeyId"] = inputs["kmsKeyId"]
        calls.call("rds", "copy_db_snapshot", **arguments)
        name = str(inputs["targetDbSnapshotIdentifier"])
        return name, self._made(calls, name, inputs, seconds)
