"""RDS for PostgreSQL: one instance, its parameter group, its snapshots."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from encryptdb.controller.engines import engine, servers
from encryptdb.controller.engines.description import Description, Leftover, Log, Member, common, plain
from encryptdb.controller.engines.settings import ParameterGroup, Server
from encryptdb.controller.engines.words import INSTANCE
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Side


class Rds:
    """`engine.Engine` for an RDS instance."""

    words = INSTANCE
    seed_function = "rds_tools.logical_seed_lsn()"
    keeps_wal = True

    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    def find(self, identifier: str) -> Description | None:
        try:
            answer = self.aws.call("rds", "describe_db_instances", DBInstanceIdentifier=identifier)
        except NotFound:
            return None
        return describe(answer["DBInstances"][0])

    def find_by_resource_id(self, resource_id: str) -> Description | None:
        for answer in self.aws.pages("rds", "describe_db_instances", "DBInstances"):
            if answer.get("DbiResourceId") == resource_id:
                return describe(answer)
        return None

    def readers(self, side: Side) -> tuple[Member, ...]:
        return ()

    def attach_parameter_group(self, identifier: str, group: str) -> None:
        given = {"DBInstanceIdentifier": identifier, "DBParameterGroupName": group}
        self.aws.call("rds", "modify_db_instance", **given, ApplyImmediately=True)

    def wait_applied(self, identifier: str, reporter: Reporter, clock: Clock) -> Description:
        return engine.settle(lambda: self._the(identifier), ready=engine.applied, reporter=reporter, clock=clock)

    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        self.aws.call("rds", "reboot_db_instance", DBInstanceIdentifier=identifier)
        engine.settle(lambda: self._the(identifier), ready=engine.in_sync, reporter=reporter, clock=clock)

    def _the(self, identifier: str) -> Description:
        return engine.the(self, identifier, self.aws.region)

    def log(self, identifier: str) -> Log:
        found = self.find(identifier)
        return Log(identifier, found.created if found else None, f"/aws/rds/instance/{identifier}/postgresql")

    def user_parameters(self, group: str) -> Mapping[str, str] | None:
        return engine.user_parameters(self.aws, "describe_db_parameters", DBParameterGroupName=group)

    def free_bytes(self, identifier: str) -> tuple[int | None, str | None]:
        """The lowest FreeStorageSpace of the last 15 minutes."""
        now = datetime.now(UTC)
        try:
            answer = self.aws.call(
                "cloudwatch",
                "get_metric_statistics",
                Namespace="AWS/RDS",
                MetricName="FreeStorageSpace",
                Dimensions=[{"Name": "DBInstanceIdentifier", "Value": identifier}],
                StartTime=now - timedelta(minutes=15),
                # Whole seconds travel: a figure of this very second would be left out.
                EndTime=now + timedelta(minutes=1),
                Period=60,
                Statistics=["Minimum"],
            )
        except Problem as problem:
            return None, problem.detail or problem.message
        points = [point["Minimum"] for point in answer.get("Datapoints") or ()]
        return (int(min(points)), None) if points else (None, "CloudWatch has no figure of the last 15 minutes")

    def leftovers(self, source: Side, stack: str) -> Iterator[Leftover]:
        found = self.find_by_resource_id(source.resource_id)
        if found is not None and found.plain:
            delete = f"python -m controller retire --stack {stack} --delete-source {found.identifier}"
            yield Leftover("instance", found.identifier, delete)
            for replica in found.read_replicas:
                yield Leftover(
                    "read replica", replica, f"aws rds delete-db-instance --db-instance-identifier {replica}"
                )
        delete = "aws rds delete-db-snapshot --db-snapshot-identifier"
        for snapshot in self.aws.pages("rds", "describe_db_snapshots", "DBSnapshots"):
            ours = (snapshot.get("DbiResourceId") == source.resource_id) or (
                snapshot.get("DBInstanceIdentifier") == source.identifier
            )
            if ours and plain(snapshot):
                yield engine.snapshot_leftover(snapshot, snapshot["DBSnapshotIdentifier"], delete, stack)
        yield from self._backups(source.resource_id)
        yield from engine.log_group_leftovers(self.aws, f"/aws/rds/instance/{source.identifier}/")

    def _backups(self, resource_id: str) -> Iterator[Leftover]:
        try:
            listed = self.aws.call("rds", "describe_db_instance_automated_backups", DbiResourceId=resource_id)
        except NotFound:
            return
        delete = f"aws rds delete-db-instance-automated-backup --dbi-resource-id {resource_id}"
        for backup in listed.get("DBInstanceAutomatedBackups", ()):
            if plain(backup):
                remedy = delete if backup.get("Status") == "retained" else "go with the source"
                yield Leftover("automated backups", backup.get("DbiResourceId", resource_id), remedy)

    def delete(self, found: Description) -> None:
        given = {"SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        self.aws.call("rds", "delete_db_instance", DBInstanceIdentifier=found.identifier, **given)

    def servers(self, resource_id: str) -> tuple[Server, ...]:
        return tuple(s for s in self._all() if s.resource_id == resource_id)

    def tagged(self, stack: str) -> tuple[Server, ...]:
        return tuple(s for s in self._all() if s.tags.get("encryptdb:stack") == stack)

    def _all(self) -> Iterator[Server]:
        listed = self.aws.pages("rds", "describe_db_instances", "DBInstances")
        ours = (a for a in listed if not a.get("DBClusterIdentifier") and a["DBInstanceStatus"] != "deleting")
        return (servers.instance(answer) for answer in ours)

    def parameter_group(self, name: str) -> ParameterGroup | None:
        return servers.parameter_group(self.aws, "parameter-group", name)


def describe(answer: Mapping[str, Any]) -> Description:
    """One element of a DescribeDBInstances answer. Pure."""
    group = (answer.get("DBParameterGroups") or [{}])[0]
    ceiling = answer.get("MaxAllocatedStorage")
    return Description(
        identifier=answer["DBInstanceIdentifier"],
        resource_id=answer["DbiResourceId"],
        status=answer["DBInstanceStatus"],
        parameter_group=group.get("DBParameterGroupName", ""),
        parameter_status=group.get("ParameterApplyStatus", ""),
        created=answer.get("InstanceCreateTime"),
        public=bool(answer.get("PubliclyAccessible")),
        max_allocated_bytes=int(ceiling) << 30 if ceiling else None,
        read_replicas=tuple(answer.get("ReadReplicaDBInstanceIdentifiers") or ()),
        replica_of=answer.get("ReadReplicaSourceDBInstanceIdentifier"),
        deleting=answer["DBInstanceStatus"] == "deleting",
        **common(answer),
    )
