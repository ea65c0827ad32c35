"""RDS Proxy: its target is exchanged. Applications keep the proxy's endpoint and their connections to it.

    {"kind": "rds-proxy", "proxy": "orders", "targetGroup": "default"}        targetGroup is optional

A target group has one instance or cluster, so the old one is deregistered before the new one is registered; clients are
served once the health of the new one is AVAILABLE. The proxy logs in to the database with the secrets of its own
configuration: these are the logins that are tried on the arriving side.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.switches import ApplicationLogin, Context, Endpoint, Switch, text
from encryptdb.controller.switches.secretsmanager import login_in
from encryptdb.controller.waiting import Reporter, SystemClock, wait_until
from encryptdb.stacks.cloud.client import NotFound
from encryptdb.stacks.contract.errors import Failed, Refused

AVAILABLE_SECONDS = 60.0
"""How long each `check` waits for a target that is REGISTERING. The proxy's clients wait meanwhile."""


@dataclass
class RdsProxy(Switch):
    """One proxy, and the target group whose target is exchanged."""

    proxy: str
    group: str
    kind = "rds-proxy"

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "RdsProxy":
        return cls(context, text(document, "proxy"), text(document, "targetGroup", "default"))

    @property
    def name(self) -> str:
        return f"the RDS Proxy {self.proxy}"

    def probe(self) -> str | None:
        about = self._about()
        if about["Status"] != "available":
            raise Refused(
                f"{self.name} is {about['Status']}.",
                hint=f"Wait until it is available: aws rds describe-db-proxies --db-proxy-name {self.proxy}",
            )
        targets = self._targets()
        if list(targets) != [self.from_.identifier]:
            raise Refused(
                f"{self.name} does not have {self.from_.identifier} as its only target.",
                detail=f"The targets of its target group {self.group!r} are: {', '.join(targets) or 'none'}.",
                hint="Name a proxy that has the database as its only target, or remove this switch.",
            )
        return None

    def logins(self) -> Iterator[ApplicationLogin]:
        """The proxy's own logins."""
        for auth in self._about().get("Auth", ()):
            if auth.get("SecretArn"):
                found = login_in(self.aws, auth["SecretArn"])
                if found is not None:
                    yield found

    def apply(self) -> None:
        registered = self._targets()
        if self.from_.identifier in registered:
            self.aws.call("rds", "deregister_db_proxy_targets", **self._names(self.from_))
        if self.to.identifier not in registered:
            self.aws.call("rds", "register_db_proxy_targets", **self._names(self.to))

    def check(self) -> None:
        wait_until(
            self._healthy,
            what=f"{self.name} to report {self.to.identifier} as AVAILABLE",
            seconds=AVAILABLE_SECONDS,
            every=0.2,
            reporter=Reporter(quiet=True),
            clock=SystemClock(),
            progress=lambda: f"Its state is {self._targets().get(self.to.identifier or '') or 'not registered'}.",
            hint="Often a security group or a secret is the reason: "
            f"aws rds describe-db-proxy-targets --db-proxy-name {self.proxy} --target-group-name {self.group}",
        )

    def _names(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "DBProxyName": self.proxy,
            "TargetGroupName": self.group,
            endpoint.listed_as: [endpoint.identifier],
        }

    def _about(self) -> dict[str, Any]:
        try:
            answer = self.aws.call("rds", "describe_db_proxies", DBProxyName=self.proxy)
        except NotFound as problem:
            raise Refused(f"There is no RDS Proxy {self.proxy!r}.", detail=problem.detail) from None
        found: dict[str, Any] = answer["DBProxies"][0]
        return found

    def _targets(self) -> dict[str, str]:
        """Identifier → state of its health, with the reason if there is one; a cluster has its writer's."""
        answer = self.aws.call("rds", "describe_db_proxy_targets", DBProxyName=self.proxy, TargetGroupName=self.group)
        found: dict[str, str] = {}
        for target in answer["Targets"]:
            health = target.get("TargetHealth") or {}
            words = ", ".join(w for w in (health.get("State"), health.get("Reason"), health.get("Description")) if w)
            cluster = target.get("TrackedClusterId")
            if cluster is None:
                found.setdefault(target["RdsResourceId"], words)
            elif target.get("Role") == "READ_WRITE":
                found[cluster] = words
            else:
                found.setdefault(cluster, "")
        return found

    def _healthy(self) -> bool | None:
        registered = self._targets()
        if self.to.identifier not in registered:
            raise Failed(f"{self.name} does not list {self.to.identifier} as a target after it was registered.")
        return True if registered[self.to.identifier].startswith("AVAILABLE") else None


SWITCH = RdsProxy
