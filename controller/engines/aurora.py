"""Aurora PostgreSQL. Encryption and parameter group are the cluster's; status, reboot and log are its instances'."""

from collections.abc import Iterator

from encryptdb.controller.engines.engine import Engine, Leftover, Log
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.database import Cluster, Database
from encryptdb.stacks.cloud.words import CLUSTER


class Aurora(Engine):
    """The engine of an Aurora cluster."""

    words = CLUSTER
    seed_function = "aurora_volume_logical_start_lsn()"
    keeps_wal = False

    def find(self, identifier: str) -> Cluster | None:
        return reads.cluster(self.aws, identifier)

    def all(self) -> tuple[Cluster, ...]:
        return reads.clusters(self.aws)

    def attach_parameter_group(self, identifier: str, group: str) -> None:
        given = {"DBClusterIdentifier": identifier, "DBClusterParameterGroupName": group}
        self.aws.call("rds", "modify_db_cluster", **given, ApplyImmediately=True)

    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        """The writer, then one by one whichever readers its reboot did not take along (Aurora's version decides)."""

        def waiting(found: Database, member: str) -> bool:
            return any(m.parameter_status != "in-sync" for m in found.members if m.identifier == member)

        def reboot(member: str) -> Database:
            self.reboot(member)
            return self.settle(identifier, lambda found: not waiting(found, member), reporter, clock)

        found = self.the(identifier)
        for writer in (m for m in found.members if m.writer):
            found = reboot(writer.identifier)
        for reader in found.readers:
            if waiting(found, reader.identifier):
                reporter.say(f"rebooting the reader {reader.identifier}")
                found = reboot(reader.identifier)

    def log(self, identifier: str) -> Log:
        found = self.find(identifier)
        group = f"/aws/rds/cluster/{identifier}/postgresql"
        writer = next((m for m in (found.members if found else ()) if m.writer), None)
        if writer is None:
            return Log(identifier, None, group)
        return Log(writer.identifier, writer.created, group, writer.identifier)

    def free_bytes(self, identifier: str) -> tuple[int | None, str | None]:
        return None, None

    def delete(self, found: Database) -> None:
        """The members first, the writer last: only an empty cluster can be deleted."""
        for member in reversed(found.members):
            if not member.deleting:
                self.aws.call("rds", "delete_db_instance", DBInstanceIdentifier=member.identifier)
        given = {"SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        self.aws.call("rds", "delete_db_cluster", DBClusterIdentifier=found.identifier, **given)

    def relatives(self, found: Database) -> Iterator[Leftover]:
        """A replica is encrypted if and only if its source is; a clone may be unencrypted by itself."""
        for replica in () if found.encrypted else found.read_replicas:
            yield Leftover("replica cluster", replica, self.words.delete(replica))
        for clone in self.all() if found.clone_group else ():
            if (
                clone.clone_group == found.clone_group
                and clone.resource_id != found.resource_id
                and not clone.encrypted
            ):
                yield Leftover("clone", clone.identifier, self.words.delete(clone.identifier))
