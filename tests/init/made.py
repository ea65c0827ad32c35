"""Things to look at: a source and what was found about it, as values, and an AWS that refuses or answers otherwise."""

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from encryptdb.controller.init.found import Alias, Found
from encryptdb.controller.init.references import Proxy, Record, SecretKey
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Cluster, Database, Instance

HOST = "orders-prod.abc.eu-central-1.rds.amazonaws.com"
READER = "orders-prod.cluster-ro-abc.eu-central-1.rds.amazonaws.com"

INSTANCE = Instance(
    identifier="orders-prod",
    arn="arn:aws:rds:eu-central-1:111122223333:db:orders-prod",
    resource_id="db-SOURCE",
    engine="postgres",
    engine_version="16.4",
    status="available",
    instance_class="db.m6g.large",
    host=HOST,
    port=5432,
    encrypted=False,
    kms_key_arn=None,
    parameter_group="default.postgres16",
    multi_az=True,
    log_exports=("postgresql", "upgrade"),
    iam_authentication=False,
)

MEMBER = dataclasses.replace(
    INSTANCE,
    engine="aurora-postgresql",
    instance_class="db.r6g.large",
    multi_az=False,
    host=None,
    member_of="orders-prod",
    writer=True,
)

CLUSTER = Cluster(
    identifier="orders-prod",
    arn="arn:aws:rds:eu-central-1:111122223333:cluster:orders-prod",
    resource_id="cluster-SOURCE",
    engine="aurora-postgresql",
    engine_version="16.4",
    status="available",
    members=(MEMBER, dataclasses.replace(MEMBER, writer=False)),
    host=HOST,
    reader_host=READER,
    port=5432,
    encrypted=False,
    kms_key_arn=None,
    parameter_group="default.aurora-postgresql16",
    log_exports=("postgresql", "upgrade"),
)

RECORD = Record("Z0123456789", "orders.internal", True, "db.orders.internal", "CNAME", 300, HOST, True)
PROXY = Proxy("orders", "available", True)
SECRET = SecretKey("orders/db", "arn:of:it", "host", "port", HOST, True, None, False)
ALIASES = (Alias("alias/aws/rds", "aws-own"), Alias("alias/orders-data", "other"), Alias("alias/bills", "another"))


def found(source: Database = INSTANCE, /, **changes: Any) -> Found:
    given: dict[str, Any] = {
        "stack": "orders",
        "region": "eu-central-1",
        "source": source,
        "holder": None,
        "aliases": ALIASES,
    }
    return Found(**given | changes)


class Refusing(Aws):
    """AWS, which denies some operations (`service.Operation`) as IAM does. The error is made by botocore."""

    denied: tuple[str, ...] = ()

    def client(self, service: str) -> Any:
        new = service not in self._clients
        client = super().client(service)
        for operation in self.denied if new else ():
            client.meta.events.register(f"before-call.{operation}", self._deny)
        return client

    @staticmethod
    def _deny(model: Any, **_: Any) -> Any:
        said = f"User: arn:aws:iam::111122223333:user/init is not authorized to perform: {model.name}"
        return SimpleNamespace(status_code=403), {"Error": {"Code": "AccessDeniedException", "Message": said}}


def refusing(*operations: str) -> type[Aws]:
    return type("RefusingSome", (Refusing,), {"denied": operations})


class Altered(Aws):
    """AWS, whose answers of one operation have been altered, for what the lab cannot make."""

    operation = ""
    alter: Callable[[dict[str, Any]], None]

    def client(self, service: str) -> Any:
        new = service not in self._clients
        client = super().client(service)
        if new:
            client.meta.events.register(f"after-call.{self.operation}", self._altered)
        return client

    def _altered(self, parsed: dict[str, Any], **_: Any) -> None:
        type(self).alter(parsed)


def altered(operation: str, key: str, **attributes: Any) -> type[Aws]:
    """Every element under `key` gets these attributes besides, or instead."""

    def alter(parsed: dict[str, Any]) -> None:
        for element in parsed.get(key, ()):
            element.update(attributes)

    return type("AlteredSome", (Altered,), {"operation": operation, "alter": staticmethod(alter)})
