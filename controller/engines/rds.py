"""RDS for PostgreSQL: one instance, its parameter group, its snapshots."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from encryptdb.controller.engines.engine import Engine, Leftover, Log
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.database import Database, Instance
from encryptdb.stacks.cloud.words import INSTANCE
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Side


class Rds(Engine):
    """The engine of an RDS instance."""

    words = INSTANCE
    seed_function = "rds_tools.logical_seed_lsn()"
    keeps_wal = True

    def find(self, identifier: str) -> Database | None:
        return reads.instance(self.aws, identifier)

    def all(self) -> tuple[Database, ...]:
        return reads.instances(self.aws)

    def readers(self, side: Side) -> tuple[Instance, ...]:
        return ()

    def attach_parameter_group(self, identifier: str, group: str) -> None:
        given = {"DBInstanceIdentifier": identifier, "DBParameterGroupName": group}
        self.aws.call("rds", "modify_db_instance", **given, ApplyImmediately=True)

    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        # AWS refuses to reboot an instance while it is being backed up, which it serves through.
        self.settle(identifier, lambda found: found.status != "backing-up", reporter, clock)
        self.reboot(identifier)
        self.settle(identifier, lambda found: found.parameter_status == "in-sync", reporter, clock)

    def log(self, identifier: str) -> Log:
        found = self.find(identifier)
        return Log(identifier, found.created if found else None, f"/aws/rds/instance/{identifier}/postgresql")

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

    def delete(self, found: Database) -> None:
        given = {"SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        self.aws.call("rds", "delete_db_instance", DBInstanceIdentifier=found.identifier, **given)

    def relatives(self, found: Database) -> Iterator[Leftover]:
        """A replica is encrypted if and only if its source is."""
        for replica in () if found.encrypted else found.read_replicas:
            yield Leftover("read replica", replica, self.words.delete(replica))
