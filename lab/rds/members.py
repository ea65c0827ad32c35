"""Instances of Aurora clusters: the first one is the writer, and starts the server on the cluster's volume; the others
read, each on a streaming replica that starts once the writer is there."""

from collections.abc import Mapping
from typing import Any

from moto.rds.exceptions import (
    InvalidDBClusterStateFault,
    InvalidDBInstanceEngine,
    InvalidParameterCombination,
    InvalidParameterValue,
)
from moto.rds.models import DBInstance, DBSnapshot

from encryptdb.lab import readers
from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import wait_until
from encryptdb.lab.rds.cluster_models import ENGINE, LabCluster, LabMember
from encryptdb.lab.rds.cluster_snapshots import ClusterSnapshots
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.transitions import LOCK, background

OF_THE_CLUSTER = {
    "allocated_storage": "AllocatedStorage",
    "backup_retention_period": "BackupRetentionPeriod",
    "cloudwatch_logs_export_configuration": "CloudwatchLogsExportConfiguration",
    "deletion_protection": "DeletionProtection",
    "enable_cloudwatch_logs_exports": "EnableCloudwatchLogsExports",
    "kms_key_id": "KmsKeyId",
    "master_user_password": "MasterUserPassword",
    "master_username": "MasterUsername",
    "storage_encrypted": "StorageEncrypted",
    "vpc_security_group_ids": "VpcSecurityGroupIds",
}
"""What is set for a whole cluster, under moto's names and the API's."""

WRITER_SECONDS = 600.0
"""How long a reader waits for its writer."""
LOST = ("failed", "deleting", "incompatible-parameters")


class Members(ClusterSnapshots):
    """The life of instances in clusters. All that concerns other instances is handed on."""

    __module__ = "moto.rds.models"

    def create_db_instance(self, db_kwargs: Mapping[str, Any]) -> DBInstance:
        if not db_kwargs.get("db_cluster_identifier"):
            return super().create_db_instance(db_kwargs)
        wanted = {key: value for key, value in dict(db_kwargs).items() if value is not None}
        name = wanted.pop("db_instance_identifier")
        cluster = self.cluster(wanted["db_cluster_identifier"])
        if wanted.get("engine") != cluster.engine:
            raise InvalidDBInstanceEngine(str(wanted.get("engine")), str(cluster.engine))
        self.check_engine(ENGINE, wanted.pop("engine_version", None), ENGINE)
        self._refuse_what_is_the_clusters(wanted)
        self.require_cluster(cluster, "a new instance")
        wanted["db_subnet_group_name"] = wanted.get("db_subnet_group_name") or cluster.db_subnet_group_name
        if wanted["db_subnet_group_name"] not in self.subnet_groups:
            del wanted["db_subnet_group_name"]
        member = self._declare(name, wanted, LabMember)  # type: ignore[type-abstract]
        assert isinstance(member, LabMember)
        work = self._start_writer if member.is_cluster_writer else self._start_reader
        background(f"create {name}", lambda: work(cluster, member), lambda _: self._settle(member, "failed"))
        return member

    def _start_writer(self, cluster: LabCluster, member: LabMember) -> None:
        host = self.plane.hosts[cluster.db_cluster_resource_id]
        readers.become_writer(host, member.db_instance_identifier)
        # The instance's storage is the cluster's: under both names there is one volume.
        (self.plane.layout.instances / member.dbi_resource_id).symlink_to(host.volume.directory.name)
        with LOCK:
            self.plane.hosts[member.dbi_resource_id] = host
        self.plane.boot(host, self.values(member))
        fresh, cluster.fresh = cluster.fresh, ""
        if fresh == "made":
            readers.mark_logical_start(host, "template1")
            name, password = str(cluster.master_username), cluster.password
            self.plane.furnish(host, name, password, cluster.database_name, [readers.SQL])
        elif fresh == "restored":
            readers.mark_logical_start(host)
            self.plane.awake(host)
        self._appear(member, host)
        if fresh == "made":
            self._settle(member, "backing-up")
            self.back_up_cluster(cluster)
        self._settle(member, "available")

    def _start_reader(self, cluster: LabCluster, member: LabMember) -> None:
        def there() -> bool:
            writer = cluster.the_writer
            if writer is None or writer.status in LOST or member.status == "deleting":
                raise LabError(f"the cluster {cluster.db_cluster_identifier} has no writer to follow")
            return writer.status == "available"

        wait_until(there, "the cluster's writer", WRITER_SECONDS, every=0.05)
        host = readers.seed(
            self.plane,
            self.plane.hosts[cluster.db_cluster_resource_id],
            member.dbi_resource_id,
            member.db_instance_identifier,
            self.plane.reserve(),
            [cluster.reader_address],
            self.values(member),
        )
        self._appear(member, host)
        self._settle(member, "available")

    def values(self, database: LabInstance) -> dict[str, str]:
        values = super().values(database)
        if not isinstance(database, LabMember) or database.is_cluster_writer:
            return values
        writer = self.plane.hosts[database.lab_cluster.db_cluster_resource_id]
        return readers.raised(self.plane.binaries, values, writer.running)

    def delete_db_instance(
        self,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> DBInstance:
        member = self.instance(db_instance_identifier)
        if not isinstance(member, LabMember):
            return super().delete_db_instance(
                db_instance_identifier, final_db_snapshot_identifier, skip_final_snapshot, delete_automated_backups
            )
        cluster = member.lab_cluster
        if final_db_snapshot_identifier:
            raise InvalidParameterCombination("FinalDBSnapshotIdentifier can not be specified for a cluster instance.")
        if member.status in ("deleting", "rebooting", "renaming"):
            self.require(member, {"available", "stopped", "failed"}, "delete")
        followers = [m for m in cluster.readers if m.status != "deleting"]
        if member.is_cluster_writer and followers:
            raise InvalidDBClusterStateFault("This lab fails over to no reader: delete the readers before the writer.")
        before, member.status = member.status, "deleting"

        def work() -> None:
            self.plane.pause()
            if member.is_cluster_writer:
                wait_until(lambda: not cluster.readers, "the readers to be gone", WRITER_SECONDS, every=0.05)
                self.plane.halt(self.plane.hosts[cluster.db_cluster_resource_id])
                (self.plane.layout.instances / member.dbi_resource_id).unlink(missing_ok=True)
                self.plane.hosts.pop(member.dbi_resource_id, None)
            else:
                self.plane.destroy(member.dbi_resource_id)
            with LOCK:
                del self.databases[member.db_instance_identifier]

        background(f"delete {db_instance_identifier}", work, lambda _: self._settle(member, before))
        return member

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: Mapping[str, Any]) -> DBInstance:
        if isinstance(self.instance(db_instance_identifier), LabMember):
            self._refuse_what_is_the_clusters({k: v for k, v in dict(db_kwargs).items() if v is not None})
        return super().modify_db_instance(db_instance_identifier, db_kwargs)

    def _apply(self, database: LabInstance, changes: dict[str, Any]) -> None:
        super()._apply(database, changes)
        host = self.plane.hosts.get(database.dbi_resource_id)
        if not isinstance(database, LabMember) or host is None:
            return
        # A new name is known to the server from its next start on, which a rename is followed by.
        name = database.db_instance_identifier
        if database.is_cluster_writer:
            readers.become_writer(host, name)
        else:
            readers.follow(host.cluster, self.plane.hosts[database.lab_cluster.db_cluster_resource_id].cluster, name)

    def stop_db_instance(self, db_instance_identifier: str, db_snapshot_identifier: str | None = None) -> DBInstance:
        self._refuse_member(db_instance_identifier, "stopped by itself. Use StopDBCluster")
        return super().stop_db_instance(db_instance_identifier, db_snapshot_identifier)

    def create_db_snapshot(self, db_instance_identifier: str, *args: Any, **kwargs: Any) -> DBSnapshot:
        self._refuse_member(db_instance_identifier, "snapshotted directly. Use CreateDBClusterSnapshot")
        return super().create_db_snapshot(db_instance_identifier, *args, **kwargs)

    def _refuse_member(self, identifier: str, what: str) -> None:
        if isinstance(self.instance(identifier), LabMember):
            raise InvalidParameterValue(f"The specified instance is a member of a cluster and cannot be {what}.")

    @staticmethod
    def _refuse_what_is_the_clusters(wanted: Mapping[str, Any]) -> None:
        given = sorted(OF_THE_CLUSTER[key] for key in OF_THE_CLUSTER.keys() & wanted.keys())
        if given:
            raise InvalidParameterCombination(
                f"The requested DB instance is a member of a DB cluster: set {', '.join(given)} for the cluster."
            )


def reader_for(cluster: LabCluster, turn: int) -> str | None:
    """Where the reader endpoint leads for the `turn`-th connection: a reader that is available, else the writer."""
    ready = [m.host for m in cluster.readers if m.status in ("available", "backing-up") and m.host]
    if ready:
        return ready[turn % len(ready)]
    writer = cluster.the_writer
    return writer.host if writer is not None else None
