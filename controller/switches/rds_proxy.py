"""RDS Proxy: the instance or cluster behind it is exchanged. Applications keep its endpoint and their connections.

    {"kind": "rds-proxy", "proxy": "orders", "targetGroup": "default"}        targetGroup is optional

A target group holds one of them, so the old one is deregistered before the new one is registered; the proxy lets
clients through when the new one's health is AVAILABLE. It logs in to the database with the secrets in its own
configuration, which are those that are probed on the arriving side.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.switches import Endpoint, Target, text
from encryptdb.controller.switches.logins import ApplicationLogin, login_in
from encryptdb.controller.waiting import Clock, Reporter, SystemClock, wait_until
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.errors import Failed, Refused, Usage

AVAILABLE_SECONDS = 60.0
"""How long a target may be REGISTERING each time that we look. The proxy's clients wait for it."""


@dataclass
class RdsProxy:
    """One proxy, and the group of it whose target is exchanged."""

    proxy: str
    group: str
    from_: Endpoint
    to: Endpoint
    aws: Aws
    clock: Clock
    kind: str = "rds-proxy"

    @classmethod
    def read(cls, document: Mapping[str, Any], target: Target) -> "RdsProxy":
        """From the stack's config. Raises Usage."""
        group = document.get("targetGroup", "default")
        if not isinstance(group, str) or not group:
            raise Usage(f"targetGroup: expected a string, found {group!r}.")
        return cls(text(document, "proxy"), group, target.from_, target.to, target.aws, SystemClock())

    @property
    def name(self) -> str:
        return f"the RDS Proxy {self.proxy}"

    def probe(self) -> str | None:
        about = self._about()
        if about["Status"] != "available":
            raise Refused(
                f"{self.name} is {about['Status']}.", hint="Wait until it is available, or see why it is not."
            )
        targets = self._targets()
        if list(targets) != [self.from_.identifier]:
            raise Refused(
                f"{self.name} does not stand in front of {self.from_.identifier}.",
                detail=f"Its target group {self.group!r} has: {', '.join(targets) or 'nothing'}.",
                hint="It is changed only where it names the side that is left, and that alone.",
            )
        return None

    def logins(self) -> Iterator[ApplicationLogin]:
        """What the proxy logs in with."""
        for auth in self._about().get("Auth", ()):
            if auth.get("SecretArn"):
                found = login_in(self.aws, auth["SecretArn"])
                if found is not None:
                    yield found

    def pause(self, seconds: float) -> None:
        """The proxy holds nobody back by order of ours: its clients meet the fence."""

    def apply(self) -> None:
        self._exchange(self.from_, self.to)

    def check(self) -> None:
        wait_until(
            lambda: self._healthy(self.to),
            what=f"{self.name} to find {self.to.identifier} AVAILABLE",
            seconds=AVAILABLE_SECONDS,
            every=0.2,
            reporter=Reporter(quiet=True),
            clock=self.clock,
            progress=lambda: f"Its state is {self._targets().get(self.to.identifier or '') or 'not registered'}.",
            hint="See its Reason in `aws rds describe-db-proxy-targets`: often a security group, or a secret.",
        )

    def undo(self) -> None:
        self._exchange(self.to, self.from_)

    def resume(self) -> None:
        """Nobody was held back."""

    def release(self) -> dict[str, Any] | None:
        return None

    def _exchange(self, old: Endpoint, new: Endpoint) -> None:
        registered = self._targets()
        if old.identifier in registered:
            self.aws.call("rds", "deregister_db_proxy_targets", **self._names(old))
        if new.identifier not in registered:
            self.aws.call("rds", "register_db_proxy_targets", **self._names(new))

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
        """What is registered → the state of its health, with the reason if it has one; a cluster has its writer's."""
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

    def _healthy(self, endpoint: Endpoint) -> bool | None:
        registered = self._targets()
        if endpoint.identifier not in registered:
            raise Failed(f"{self.name} does not have {endpoint.identifier} among its targets after it was registered.")
        # A state that is not told (INVALID_REPLICATION_STATE and its like come with UNAVAILABLE) is no health.
        return True if registered[endpoint.identifier].startswith("AVAILABLE") else None
