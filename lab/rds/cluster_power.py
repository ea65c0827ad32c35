"""Rebooting, stopping and starting what is in a cluster."""

from collections.abc import Mapping

from moto.rds.exceptions import InvalidDBClusterStateFault
from moto.rds.models import DBCluster, DBInstance

from encryptdb.lab import readers
from encryptdb.lab.rds.cluster_models import LabCluster, LabMember
from encryptdb.lab.rds.members import Members
from encryptdb.lab.rds.transitions import LOCK, background


class ClusterPower(Members):
    """What ends and starts the servers of a cluster. Everywhere the writer starts first, its readers after it."""

    __module__ = "moto.rds.models"

    def reboot_db_instance(self, db_instance_identifier: str) -> DBInstance:
        database = self.instance(db_instance_identifier)
        if not isinstance(database, LabMember) or not database.is_cluster_writer:
            return super().reboot_db_instance(db_instance_identifier)
        self.require(database, {"available", "incompatible-parameters"}, "reboot")
        # Readers stay up and keep their parameters, as Aurora's do since reads survive the writer's restart. Only where
        # the new ones would leave a replica too small for its primary, its server is restarted with it.
        values = self.values(database)
        along = self._restarted_along(database.lab_cluster, values)
        staying = [m for m in database.lab_cluster.readers if m.status == "available" and m not in along]
        for member in (database, *along):
            member.status = "rebooting"

        def work() -> None:
            host = self.host(database)
            for member in along:
                self.plane.halt(self.host(member))
            self.plane.halt(host)
            self.plane.pause()
            self.plane.boot(host, values)
            with LOCK:
                database.started()
            for member in staying:
                readers.await_following(self.host(member).cluster, host.cluster)
            self._settle(database, "available")
            for member, raised in along.items():
                self.plane.boot(self.host(member), raised)
                self._settle(member, "available")

        def failed(_: Exception) -> None:
            for member in (database, *along):
                if member.status == "rebooting":
                    member.status = "incompatible-parameters"

        background(f"reboot {db_instance_identifier}", work, failed)
        return database

    def _restarted_along(self, cluster: LabCluster, values: Mapping[str, str]) -> dict[LabMember, dict[str, str]]:
        """The readers that cannot follow a writer with these values as they are, and what they must have for that."""
        found = {}
        for member in cluster.readers:
            if member.status in ("available", "incompatible-parameters"):
                running = self.host(member).running
                raised = readers.raised(self.plane.binaries, running, values)
                if raised != running or member.status != "available":
                    found[member] = raised
        return found

    def stop_db_cluster(self, cluster_identifier: str) -> DBCluster:
        cluster = self.cluster(cluster_identifier)
        self.require_cluster(cluster, "a stop")
        for member in cluster.instances:
            self.require(member, {"available"}, "stop")
        self._all_are(cluster, "stopping")

        def work() -> None:
            self.plane.pause()
            for member in reversed(cluster.instances):
                self.plane.halt(self.host(member))
            self._all_are(cluster, "stopped")

        background(f"stop the cluster {cluster_identifier}", work, lambda _: self._all_are(cluster, "failed"))
        return cluster

    def start_db_cluster(self, cluster_identifier: str) -> DBCluster:
        cluster = self.cluster(cluster_identifier)
        if cluster.status != "stopped":
            raise InvalidDBClusterStateFault(
                f"DbCluster {cluster_identifier} is in {cluster.status} state but expected it to be one of stopped."
            )
        self._all_are(cluster, "starting")

        def work() -> None:
            self.plane.pause()
            for member in cluster.instances:
                self.plane.boot(self.host(member), self.values(member))
                with LOCK:
                    member.started()
            self._all_are(cluster, "available")

        background(f"start the cluster {cluster_identifier}", work, lambda _: self._all_are(cluster, "failed"))
        return cluster

    def failover_db_cluster(
        self, db_cluster_identifier: str, target_db_instance_identifier: str | None = None
    ) -> DBCluster:
        raise InvalidDBClusterStateFault(f"In this lab the writer of {db_cluster_identifier} stays the writer.")

    def reboot_db_cluster(self, identifier: str) -> DBCluster:
        """Refused for every cluster that the lab can have: the operation is for Multi-AZ DB clusters."""
        cluster = self.cluster(identifier)
        raise InvalidDBClusterStateFault(
            f"RebootDBCluster isn't supported for {cluster.engine}. Use RebootDBInstance for each of its instances."
        )

    @staticmethod
    def _all_are(cluster: LabCluster, status: str) -> None:
        with LOCK:
            cluster.status = status
            for member in cluster.instances:
                member.status = status
