"""An RDS Proxy in front of an Aurora cluster: what is registered is the cluster, and AWS tracks its members."""

from typing import Any

import pytest

from encryptdb.controller.switches import Endpoint, build
from encryptdb.stacks.contract.errors import Failed, Refused

OLD = Endpoint("orders.cluster", 5432, "orders", "DBClusterIdentifiers")
NEW = Endpoint("encrypted.cluster", 5432, "orders-encrypted-1", "DBClusterIdentifiers")


class Proxies:
    """AWS as far as one proxy goes: a cluster's members follow it into the list of targets, each with its health."""

    def __init__(self, health: str = "AVAILABLE") -> None:
        self.registered = ["orders"]
        self.health = health

    def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        if operation == "describe_db_proxies":
            return {"DBProxies": [{"Status": "available", "Auth": []}]}
        if operation == "describe_db_proxy_targets":
            return {"Targets": [target for cluster in self.registered for target in self.targets(cluster)]}
        assert set(given) == {"DBProxyName", "TargetGroupName", "DBClusterIdentifiers"}
        (cluster,) = given["DBClusterIdentifiers"]
        if operation == "register_db_proxy_targets":
            self.registered.append(cluster)
        else:
            assert operation == "deregister_db_proxy_targets", operation
            self.registered.remove(cluster)
        return {}

    def targets(self, cluster: str) -> list[dict[str, Any]]:
        reader = {"State": "UNAVAILABLE", "Reason": "PENDING_PROXY_CAPACITY"}
        return [
            {"Type": "TRACKED_CLUSTER", "RdsResourceId": cluster},
            {"Type": "RDS_INSTANCE", "RdsResourceId": f"{cluster}-2", "TrackedClusterId": cluster, "Role": "READ_ONLY",
             "TargetHealth": reader},
            {"Type": "RDS_INSTANCE", "RdsResourceId": f"{cluster}-1", "TrackedClusterId": cluster, "Role": "READ_WRITE",
             "TargetHealth": {"State": self.health}},
        ]  # fmt: skip


def switch(aws: Proxies, old: Endpoint = OLD, new: Endpoint = NEW) -> Any:
    (made,) = build(({"kind": "rds-proxy", "proxy": "orders"},), old, new, aws)  # type: ignore[arg-type]
    return made


def test_the_cluster_is_exchanged_and_is_healthy_with_its_writer() -> None:
    aws = Proxies()
    exchange = switch(aws)
    assert exchange.probe() is None
    exchange.apply()
    assert aws.registered == ["orders-encrypted-1"]
    exchange.check()
    switch(aws, NEW, OLD).apply()
    assert aws.registered == ["orders"]


def test_a_proxy_in_front_of_another_cluster_is_left_alone() -> None:
    aws = Proxies()
    aws.registered = ["billing"]
    with pytest.raises(Refused, match="does not have orders as its only target"):
        switch(aws).probe()


def test_a_writer_that_is_not_available_is_not_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encryptdb.controller.switches.rds_proxy.AVAILABLE_SECONDS", 0.0)
    aws = Proxies("UNAVAILABLE")
    exchange = switch(aws)
    exchange.apply()
    with pytest.raises(Failed):
        exchange.check()
