"""What a test does to a database server through the AWS API, for an RDS instance and for an Aurora cluster alike.

Written with boto3 alone: nothing of the controller is used, so nothing of it is taken on trust.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from tests.kit.commands import World
from tests.kit.waits import wait_for

ENGINES = ("rds", "aurora")


class Hands(Protocol):
    """A person with the AWS command line."""

    leftover: str
    """What the unencrypted source is called among the leftovers."""

    def state(self, identifier: str) -> tuple[str, str]:
        """Status, and whether parameters wait for a reboot; of a cluster, of its worst member."""

    def version(self, identifier: str) -> str: ...

    def parameter_group(self, identifier: str) -> str: ...

    def default_group(self, identifier: str) -> str: ...

    def attach(self, identifier: str, group: str) -> None: ...

    def set_parameters(self, group: str, values: Mapping[str, str]) -> None: ...

    def make_group(self, name: str, family: str, values: Mapping[str, str]) -> None:
        """A parameter group with these static parameters."""

    def reboot(self, identifier: str) -> None: ...

    def stop(self, identifier: str) -> None: ...

    def is_gone(self, identifier: str) -> bool: ...

    def take(self, identifier: str, snapshot: str) -> str:
        """A snapshot that is available."""

    def restore(self, snapshot: str, identifier: str, key: str | None = None, group: str | None = None) -> Any:
        """A server from a snapshot, available: as outputs have a side. With `key` it is encrypted."""


class OnRds:
    """One instance."""

    leftover = "instance"

    def __init__(self, rds: Any) -> None:
        self.rds = rds

    def _found(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return found

    def state(self, identifier: str) -> tuple[str, str]:
        found = self._found(identifier)
        return found["DBInstanceStatus"], found["DBParameterGroups"][0]["ParameterApplyStatus"]

    def version(self, identifier: str) -> str:
        return str(self._found(identifier)["EngineVersion"])

    def parameter_group(self, identifier: str) -> str:
        return str(self._found(identifier)["DBParameterGroups"][0]["DBParameterGroupName"])

    def default_group(self, identifier: str) -> str:
        return f"default.postgres{self.version(identifier).split('.')[0]}"

    def attach(self, identifier: str, group: str) -> None:
        self.rds.modify_db_instance(DBInstanceIdentifier=identifier, DBParameterGroupName=group, ApplyImmediately=True)

    def make_group(self, name: str, family: str, values: Mapping[str, str]) -> None:
        self.rds.create_db_parameter_group(DBParameterGroupName=name, DBParameterGroupFamily=family, Description=name)
        self.rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=immediate(values, "pending-reboot"))

    def set_parameters(self, group: str, values: Mapping[str, str]) -> None:
        self.rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=immediate(values))

    def reboot(self, identifier: str) -> None:
        self.rds.reboot_db_instance(DBInstanceIdentifier=identifier)

    def stop(self, identifier: str) -> None:
        self.rds.stop_db_instance(DBInstanceIdentifier=identifier)

    def is_gone(self, identifier: str) -> bool:
        return all(i["DBInstanceIdentifier"] != identifier for i in self.rds.describe_db_instances()["DBInstances"])

    def take(self, identifier: str, snapshot: str) -> str:
        self.rds.create_db_snapshot(DBInstanceIdentifier=identifier, DBSnapshotIdentifier=snapshot)
        wait_for(lambda: self._snapshot(snapshot) == "available", f"the snapshot {snapshot}")
        return snapshot

    def _snapshot(self, snapshot: str) -> str:
        return str(self.rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"][0]["Status"])

    def restore(self, snapshot: str, identifier: str, key: str | None = None, group: str | None = None) -> Any:
        if key is not None:
            sealed = f"{snapshot}-sealed"
            self.rds.copy_db_snapshot(
                SourceDBSnapshotIdentifier=snapshot, TargetDBSnapshotIdentifier=sealed, KmsKeyId=key
            )
            wait_for(lambda: self._snapshot(sealed) == "available", f"the snapshot {sealed}")
            snapshot = sealed
        given = {"DBParameterGroupName": group} if group else {}
        self.rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=identifier, DBSnapshotIdentifier=snapshot, **given
        )
        wait_for(lambda: self.state(identifier)[0] == "available", identifier)
        found = self._found(identifier)
        return {
            "identifier": identifier,
            "resourceId": found["DbiResourceId"],
            "host": found["Endpoint"]["Address"],
            "port": found["Endpoint"]["Port"],
        }


class OnAurora:
    """A cluster with its members."""

    leftover = "cluster"

    def __init__(self, rds: Any) -> None:
        self.rds = rds

    def _found(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        return found

    def state(self, identifier: str) -> tuple[str, str]:
        found = self._found(identifier)
        members = found["DBClusterMembers"]
        instances = [
            self.rds.describe_db_instances(DBInstanceIdentifier=m["DBInstanceIdentifier"])["DBInstances"][0]
            for m in members
        ]
        statuses = [found["Status"], *(i["DBInstanceStatus"] for i in instances)]
        parameters = [m["DBClusterParameterGroupStatus"] for m in members]
        return (
            next((s for s in statuses if s != "available"), "available"),
            next((p for p in parameters if p != "in-sync"), "in-sync"),
        )

    def version(self, identifier: str) -> str:
        return str(self._found(identifier)["EngineVersion"])

    def parameter_group(self, identifier: str) -> str:
        return str(self._found(identifier)["DBClusterParameterGroup"])

    def default_group(self, identifier: str) -> str:
        return f"default.aurora-postgresql{self.version(identifier).split('.')[0]}"

    def attach(self, identifier: str, group: str) -> None:
        self.rds.modify_db_cluster(
            DBClusterIdentifier=identifier, DBClusterParameterGroupName=group, ApplyImmediately=True
        )

    def make_group(self, name: str, family: str, values: Mapping[str, str]) -> None:
        self.rds.create_db_cluster_parameter_group(
            DBClusterParameterGroupName=name, DBParameterGroupFamily=family, Description=name
        )
        self.rds.modify_db_cluster_parameter_group(
            DBClusterParameterGroupName=name, Parameters=immediate(values, "pending-reboot")
        )

    def set_parameters(self, group: str, values: Mapping[str, str]) -> None:
        self.rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName=group, Parameters=immediate(values))

    def reboot(self, identifier: str) -> None:
        for member in sorted(self._found(identifier)["DBClusterMembers"], key=lambda m: not m["IsClusterWriter"]):
            self.rds.reboot_db_instance(DBInstanceIdentifier=member["DBInstanceIdentifier"])
            wait_for(lambda: self.state(identifier)[0] == "available", identifier)

    def stop(self, identifier: str) -> None:
        self.rds.stop_db_cluster(DBClusterIdentifier=identifier)

    def is_gone(self, identifier: str) -> bool:
        return all(c["DBClusterIdentifier"] != identifier for c in self.rds.describe_db_clusters()["DBClusters"])

    def take(self, identifier: str, snapshot: str) -> str:
        self.rds.create_db_cluster_snapshot(DBClusterIdentifier=identifier, DBClusterSnapshotIdentifier=snapshot)
        wait_for(lambda: self._snapshot(snapshot) == "available", f"the snapshot {snapshot}")
        return snapshot

    def _snapshot(self, snapshot: str) -> str:
        answer = self.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot)
        return str(answer["DBClusterSnapshots"][0]["Status"])

    def restore(self, snapshot: str, identifier: str, key: str | None = None, group: str | None = None) -> Any:
        given = ({"KmsKeyId": key} if key else {}) | ({"DBClusterParameterGroupName": group} if group else {})
        self.rds.restore_db_cluster_from_snapshot(
            DBClusterIdentifier=identifier, SnapshotIdentifier=snapshot, Engine="aurora-postgresql", **given
        )
        wait_for(lambda: str(self._found(identifier)["Status"]) == "available", identifier)
        self.rds.create_db_instance(
            DBInstanceIdentifier=f"{identifier}-1",
            DBClusterIdentifier=identifier,
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
        )
        wait_for(lambda: self.state(identifier)[0] == "available", identifier)
        found = self._found(identifier)
        return {
            "identifier": identifier,
            "resourceId": found["DbClusterResourceId"],
            "host": found["Endpoint"],
            "port": found["Port"],
            "readerHost": found["ReaderEndpoint"],
            "members": [f"{identifier}-1"],
        }


def hands(world: World) -> Hands:
    """Hands for the engine that the world's lab was started with."""
    rds = world.aws("rds")
    return OnAurora(rds) if world.source.get("members") else OnRds(rds)


def immediate(values: Mapping[str, str], method: str = "immediate") -> list[dict[str, str]]:
    return [{"ParameterName": name, "ParameterValue": value, "ApplyMethod": method} for name, value in values.items()]
