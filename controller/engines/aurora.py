"""Aurora PostgreSQL: a cluster with one encrypted or unencrypted volume, a writer and readers on it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from encryptdb.controller.engines import engine, servers
from encryptdb.controller.engines.description import Description, Leftover, Log, Member, common, plain
from encryptdb.controller.engines.settings import ParameterGroup, Server
from encryptdb.controller.engines.words import CLUSTER
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.outputs import Side


class Aurora:
    """`engine.Engine` for an Aurora cluster. The cluster is the truth about encryption and parameter group; the
    members are what is available, rebooted, logged of and deleted."""

    words = CLUSTER
    seed_function = "aurora_volume_logical_start_lsn()"
    keeps_wal = False

    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    def find(self, identifier: str) -> Description | None:
        try:
            answer = self.aws.call("rds", "describe_db_clusters", DBClusterIdentifier=identifier)
        except NotFound:
            return None
        return self._whole(answer["DBClusters"][0])

    def find_by_resource_id(self, resource_id: str) -> Description | None:
        for answer in self.aws.pages("rds", "describe_db_clusters", "DBClusters"):
            if answer.get("DbClusterResourceId") == resource_id:
                return self._whole(answer)
        return None

    def _whole(self, cluster: Mapping[str, Any]) -> Description:
        return describe(cluster, self._instances(cluster))

    def readers(self, side: Side) -> tuple[Member, ...]:
        return self._the(side.identifier).readers

    def attach_parameter_group(self, identifier: str, group: str) -> None:
        given = {"DBClusterIdentifier": identifier, "DBClusterParameterGroupName": group}
        self.aws.call("rds", "modify_db_cluster", **given, ApplyImmediately=True)

    def wait_applied(self, identifier: str, reporter: Reporter, clock: Clock) -> Description:
        return engine.settle(lambda: self._the(identifier), ready=engine.applied, reporter=reporter, clock=clock)

    def restart(self, identifier: str, reporter: Reporter, clock: Clock) -> None:
        """The writer, then one by one whichever readers its reboot did not take along (Aurora's version decides)."""

        def reboot(member: str) -> Description:
            self.aws.call("rds", "reboot_db_instance", DBInstanceIdentifier=member)
            return engine.settle(
                lambda: self._the(identifier), ready=lambda found: synced(found, member), reporter=reporter, clock=clock
            )

        def synced(found: Description, member: str) -> bool:
            return all(m.parameter_status == "in-sync" for m in found.members if m.identifier == member)

        found = self._the(identifier)
        for writer in (m for m in found.members if m.writer):
            found = reboot(writer.identifier)
        for reader in found.readers:
            if not synced(found, reader.identifier):
                reporter.say(f"rebooting the reader {reader.identifier}")
                found = reboot(reader.identifier)

    def _the(self, identifier: str) -> Description:
        return engine.the(self, identifier, self.aws.region)

    def log(self, identifier: str) -> Log:
        found = self.find(identifier)
        group = f"/aws/rds/cluster/{identifier}/postgresql"
        writer = next((m for m in (found.members if found else ()) if m.writer), None)
        if writer is None:
            return Log(identifier, None, group)
        return Log(writer.identifier, writer.created, group, writer.identifier)

    def user_parameters(self, group: str) -> Mapping[str, str] | None:
        return engine.user_parameters(self.aws, "describe_db_cluster_parameters", DBClusterParameterGroupName=group)

    def free_bytes(self, identifier: str) -> tuple[int | None, str | None]:
        return None, None

    def leftovers(self, source: Side, stack: str) -> Iterator[Leftover]:
        clusters = list(self.aws.pages("rds", "describe_db_clusters", "DBClusters"))
        found = next((c for c in clusters if c.get("DbClusterResourceId") == source.resource_id), None)
        if found is not None and plain(found):
            name = found["DBClusterIdentifier"]
            yield Leftover("cluster", name, f"python -m controller retire --stack {stack} --delete-source {name}")
            for replica in found.get("ReadReplicaIdentifiers") or ():
                yield Leftover(
                    "replica cluster", replica, f"aws rds delete-db-cluster --db-cluster-identifier {replica}"
                )
        group = (found or {}).get("CloneGroupId")
        for cluster in clusters if group else ():
            if cluster is not found and cluster.get("CloneGroupId") == group and plain(cluster):
                name = cluster["DBClusterIdentifier"]
                yield Leftover("clone", name, f"aws rds delete-db-cluster --db-cluster-identifier {name}")
        delete = "aws rds delete-db-cluster-snapshot --db-cluster-snapshot-identifier"
        for snapshot in self.aws.pages("rds", "describe_db_cluster_snapshots", "DBClusterSnapshots"):
            ours = (snapshot.get("DbClusterResourceId") == source.resource_id) or (
                snapshot.get("DBClusterIdentifier") == source.identifier
            )
            if ours and plain(snapshot):
                yield engine.snapshot_leftover(snapshot, snapshot["DBClusterSnapshotIdentifier"], delete, stack)
        yield from self._backups(source.resource_id)
        yield from engine.log_group_leftovers(self.aws, f"/aws/rds/cluster/{source.identifier}/")

    def _backups(self, resource_id: str) -> Iterator[Leftover]:
        try:
            listed = self.aws.call("rds", "describe_db_cluster_automated_backups", DbClusterResourceId=resource_id)
        except NotFound:
            return
        delete = f"aws rds delete-db-cluster-automated-backup --db-cluster-resource-id {resource_id}"
        for backup in listed.get("DBClusterAutomatedBackups", ()):
            if plain(backup):
                remedy = delete if backup.get("Status") == "retained" else "go with the source"
                yield Leftover("automated backups", backup.get("DbClusterResourceId", resource_id), remedy)

    def delete(self, found: Description) -> None:
        """The members first, the writer last of them: a cluster is only deleted once none of them is to stay."""
        for member in reversed(found.members):
            if member.status != "deleting":
                self.aws.call("rds", "delete_db_instance", DBInstanceIdentifier=member.identifier)
        given = {"SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        self.aws.call("rds", "delete_db_cluster", DBClusterIdentifier=found.identifier, **given)

    def servers(self, resource_id: str) -> tuple[Server, ...]:
        return self._servers(lambda answer: answer.get("DbClusterResourceId") == resource_id)

    def tagged(self, stack: str) -> tuple[Server, ...]:
        of_it = {"Key": "encryptdb:stack", "Value": stack}
        return self._servers(lambda answer: of_it in (answer.get("TagList") or ()))

    def _servers(self, wanted: Callable[[Mapping[str, Any]], bool]) -> tuple[Server, ...]:
        listed = self.aws.pages("rds", "describe_db_clusters", "DBClusters")
        clusters = [c for c in listed if wanted(c) and c["Status"] != "deleting"]
        return tuple(s for c in clusters for s in servers.cluster(c, self._instances(c)))

    def _instances(self, cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
        of_it = [{"Name": "db-cluster-id", "Values": [cluster["DBClusterIdentifier"]]}]
        return list(self.aws.pages("rds", "describe_db_instances", "DBInstances", Filters=of_it))

    def parameter_group(self, name: str) -> ParameterGroup | None:
        return servers.parameter_group(self.aws, "cluster-parameter-group", name)


def describe(cluster: Mapping[str, Any], instances: list[dict[str, Any]]) -> Description:
    """One element of a DescribeDBClusters answer, and its instances as DescribeDBInstances has them. Pure.

    A member that the one names and the other does not (it is being made, or deleted) counts as `unknown`.
    """
    by_name = {i["DBInstanceIdentifier"]: i for i in instances}
    listed = cluster.get("DBClusterMembers") or ()
    members = sorted(
        (_member(m, by_name.get(m["DBInstanceIdentifier"]), cluster) for m in listed), key=lambda m: not m.writer
    )
    statuses = [cluster["Status"], *(m.status for m in members)]
    parameters = [m.parameter_status for m in members]
    return Description(
        identifier=cluster["DBClusterIdentifier"],
        resource_id=cluster.get("DbClusterResourceId", ""),
        status=next((s for s in statuses if s != "available"), "available" if members else "without an instance"),
        parameter_group=cluster.get("DBClusterParameterGroup", ""),
        parameter_status=next((p for p in parameters if p != "in-sync"), "in-sync"),
        created=cluster.get("ClusterCreateTime"),
        public=any(m.public for m in members),
        max_allocated_bytes=None,
        read_replicas=tuple(cluster.get("ReadReplicaIdentifiers") or ()),
        replica_of=cluster.get("ReplicationSourceIdentifier"),
        deleting=cluster["Status"] == "deleting",
        members=tuple(members),
        clone_group=cluster.get("CloneGroupId"),
        **common(cluster),
    )


def _member(listed: Mapping[str, Any], instance: Mapping[str, Any] | None, cluster: Mapping[str, Any]) -> Member:
    found = instance or {}
    endpoint = found.get("Endpoint") or {}
    return Member(
        identifier=listed["DBInstanceIdentifier"],
        writer=bool(listed.get("IsClusterWriter")),
        status=found.get("DBInstanceStatus", "unknown"),
        parameter_status=listed.get("DBClusterParameterGroupStatus", ""),
        host=endpoint.get("Address"),
        port=int(endpoint.get("Port") or cluster.get("Port") or 5432),
        created=found.get("InstanceCreateTime"),
        public=bool(found.get("PubliclyAccessible")),
    )
