"""DB cluster parameter groups: as DB parameter groups, but for every instance of a cluster."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moto.rds.exceptions import DBClusterNotFoundError, DBClusterParameterGroupNotFoundError, RDSClientError
from moto.rds.models import DBClusterParameterGroup

from encryptdb.lab.parameters import Setting
from encryptdb.lab.rds.cluster_models import LabCluster, LabMember, cluster_settings
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.proxies import Proxies


class ClusterGroups(Proxies):
    """The life of DB cluster parameter groups."""

    __module__ = "moto.rds.models"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        family = self.plane.binaries.aurora_family
        name = f"default.{family}"
        self.db_cluster_parameter_groups[name] = DBClusterParameterGroup(  # type: ignore[abstract]
            backend=self,
            db_cluster_parameter_group_name=name,
            db_parameter_group_family=family,
            description=f"Default cluster parameter group for {family}",
        )

    def cluster(self, identifier: str) -> LabCluster:
        """By identifier or ARN. Raises DBClusterNotFoundError."""
        found = self.describe_db_clusters(identifier)[0]
        if not isinstance(found, LabCluster):
            raise DBClusterNotFoundError(identifier)
        return found

    def cluster_group(self, name: str) -> DBClusterParameterGroup:
        """By name. Raises DBClusterParameterGroupNotFoundError."""
        if name not in self.db_cluster_parameter_groups:
            raise DBClusterParameterGroupNotFoundError(name)
        return self.db_cluster_parameter_groups[name]

    def chosen(self, database: LabInstance) -> Mapping[str, Setting]:
        """An instance's own group comes before its cluster's."""
        own = super().chosen(database)
        if not isinstance(database, LabMember):
            return own
        return {**cluster_settings(self.cluster_group(database.lab_cluster.group_name)), **own}

    def modify_db_cluster_parameter_group(
        self, db_cluster_parameter_group_name: str, db_cluster_parameter_group_parameters: Iterable[dict[str, Any]]
    ) -> DBClusterParameterGroup:
        group = self._own_cluster_group(db_cluster_parameter_group_name, "modified")
        group.update_cluster_parameters(self.checked(db_cluster_parameter_group_parameters))
        self._cluster_group_changed(group)
        return group

    def reset_db_cluster_parameter_group(self, name: str, names: Iterable[str] | None) -> DBClusterParameterGroup:
        """Take back values that the user set: those named, or all (None)."""
        group = self._own_cluster_group(name, "reset")
        for parameter in list(group.parameters) if names is None else names:
            group.parameters.pop(parameter, None)
        self._cluster_group_changed(group)
        return group

    def delete_db_cluster_parameter_group(self, db_cluster_parameter_group_name: str) -> None:
        group = self._own_cluster_group(db_cluster_parameter_group_name, "deleted")
        users = [c.db_cluster_identifier for c in self._clusters_of(group)]
        if users:
            raise RDSClientError(
                "InvalidDBParameterGroupState",
                f"One or more DB clusters are still members of this cluster parameter group {group.name}, "
                f"so the group cannot be deleted: {', '.join(users)}",
            )
        super().delete_db_cluster_parameter_group(db_cluster_parameter_group_name)

    def cluster_parameter_rows(self, name: str, source: str | None) -> list[dict[str, Any]]:
        """What DescribeDBClusterParameters shows; `source` is user, system or engine-default, None for all."""
        rows = self.rows(cluster_settings(self.cluster_group(name)), source)
        return [row | {"SupportedEngineModes": ["provisioned"]} for row in rows]

    def _own_cluster_group(self, name: str, what: str) -> DBClusterParameterGroup:
        group = self.cluster_group(name)
        if group.name.startswith("default."):
            raise RDSClientError(
                "InvalidParameterValue", f"The parameter group {name} is a default group: it cannot be {what}."
            )
        return group

    def _clusters_of(self, group: DBClusterParameterGroup) -> Iterator[LabCluster]:
        for cluster in self.clusters.values():
            if isinstance(cluster, LabCluster) and cluster.group_name == group.name:
                yield cluster

    def _cluster_group_changed(self, group: DBClusterParameterGroup) -> None:
        for cluster in self._clusters_of(group):
            for member in cluster.instances:
                waiting = self.let_act(member)
                if waiting is not None:
                    member.cluster_apply_status = "pending-reboot" if waiting else "in-sync"
