"""RDS Proxy: moto's, with what AWS refuses. No proxy runs behind it: what is kept is who its targets are.

A target's health is REGISTERING when it is first looked at and AVAILABLE from then on, as moto has it.
"""

from moto.rds.exceptions import DBProxyNotFoundFault, RDSClientError
from moto.rds.models import DBProxy, DBProxyTarget

from encryptdb.lab.rds.logs import Logs


class Proxies(Logs):
    """Registering and deregistering the instances behind a proxy."""

    __module__ = "moto.rds.models"

    def register_db_proxy_targets(
        self,
        db_proxy_name: str,
        target_group_name: str,
        db_cluster_identifiers: list[str],
        db_instance_identifiers: list[str],
    ) -> list[DBProxyTarget]:
        group = self._proxy(db_proxy_name).proxy_target_groups[target_group_name or "default"]
        for identifier in db_instance_identifiers:
            database = self.instance(identifier)
            self.require(database, {"available"}, "a proxy")
            if any(t.rds_resource_id == identifier for t in group.targets):
                raise RDSClientError("DBProxyTargetAlreadyRegisteredFault", f"{identifier} is registered already.")
        if group.targets or len(db_instance_identifiers) > 1:
            raise RDSClientError("InvalidParameterCombination", "A target group holds one RDS DB instance.")
        added: list[DBProxyTarget] = super().register_db_proxy_targets(
            db_proxy_name, target_group_name, db_cluster_identifiers, db_instance_identifiers
        )
        return added

    def deregister_db_proxy_targets(
        self,
        db_proxy_name: str,
        target_group_name: str,
        db_cluster_identifiers: list[str],
        db_instance_identifiers: list[str],
    ) -> None:
        group = self._proxy(db_proxy_name).proxy_target_groups[target_group_name or "default"]
        for identifier in db_instance_identifiers:
            if all(t.rds_resource_id != identifier for t in group.targets):
                raise RDSClientError("DBProxyTargetNotFoundFault", f"{identifier} is not a target of {db_proxy_name}.")
        super().deregister_db_proxy_targets(
            db_proxy_name, target_group_name, db_cluster_identifiers, db_instance_identifiers
        )

    def describe_db_proxy_targets(self, proxy_name: str) -> list[DBProxyTarget]:
        self._proxy(proxy_name)
        found: list[DBProxyTarget] = super().describe_db_proxy_targets(proxy_name)
        return found

    def _proxy(self, name: str) -> DBProxy:
        if name not in self.db_proxies:
            raise DBProxyNotFoundFault(name)
        return self.db_proxies[name]
