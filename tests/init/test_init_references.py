"""Who names a database, on the lab's API: by whatever spelling, and nobody else."""

from collections.abc import Iterator
from typing import Any

import pytest

from encryptdb.controller.init.references import Proxy, SecretKey, Unread, proxies, records, secrets
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed
from tests.init.made import refusing
from tests.init.world import proxy, record, secret
from tests.kit.lab import Lab

HOST, READER = "shop.abc.rds.example", "shop.cluster-ro-abc.rds.example"


@pytest.fixture
def aws(rds: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name, value in rds.env.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    yield Aws("eu-central-1")


def test_records_of_a_name_are_cnames_in_whatever_spelling(rds: Lab, aws: Aws) -> None:
    zone = record(rds, "shop.test", "db.shop.test", f"{HOST.upper()}.", 60, "CNAME")
    record(rds, "readers.test", "ro.readers.test", READER, 300, "CNAME")
    record(rds, "weighted.test", "w.weighted.test", HOST, 60, "CNAME", SetIdentifier="one", Weight=1)
    record(rds, "other.test", "db.other.test", f"old-{HOST}", 60, "CNAME")
    record(rds, "text.test", "note.text.test", f'"{HOST}"', 60, "TXT")
    found = {r.name: r for r in records(aws, [HOST, READER]) if not isinstance(r, Unread)}
    assert set(found) == {"db.shop.test", "ro.readers.test", "w.weighted.test"}
    plain = found["db.shop.test"]
    assert (plain.zone, plain.zone_name, plain.type, plain.ttl, plain.plain) == (zone, "shop.test", "CNAME", 60, True)
    # The host as it was asked for, so that the caller can compare it.
    assert (plain.host, found["ro.readers.test"].host) == (HOST, READER)
    assert not found["w.weighted.test"].plain


def test_an_address_is_named_by_address_records(rds: Lab, aws: Aws) -> None:
    both = [{"Value": "127.7.7.7"}, {"Value": "127.7.7.8"}]
    record(rds, "two.test", "db.two.test", "", ResourceRecords=both)
    (found,) = records(aws, ["127.7.7.7"])
    assert not isinstance(found, Unread)
    assert (found.type, found.plain) == ("A", False)


def test_a_zone_that_may_not_be_read_hides_no_other(rds: Lab, aws: Aws) -> None:
    record(rds, "closed.test", "db.closed.test", "127.6.6.6")
    record(rds, "open.test", "db.open.test", "127.6.6.6")

    class OneClosed(Aws):
        def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
            closed = given.get("HostedZoneId") == zones["closed.test."]
            source = refusing("route53.ListResourceRecordSets")(self.region) if closed else Aws(self.region)
            yield from source.pages(service, operation, key, **given)

    listed = rds.client("route53").list_hosted_zones()["HostedZones"]
    zones = {z["Name"]: z["Id"].rpartition("/")[2] for z in listed}
    found = records(OneClosed("eu-central-1"), ["127.6.6.6"])
    assert [r.name for r in found if not isinstance(r, Unread)] == ["db.open.test"]
    (unread,) = (r for r in found if isinstance(r, Unread))
    assert unread.permission == "route53:ListResourceRecordSets"
    assert "closed.test" in unread.what


@pytest.mark.parametrize(
    ("look", "operation"),
    [
        (lambda aws: records(aws, [HOST]), "route53.ListHostedZones"),
        (lambda aws: proxies(aws, "shop", False), "rds.DescribeDBProxies"),
        (lambda aws: secrets(aws, "shop", [HOST]), "secrets-manager.ListSecrets"),
    ],
)
def test_a_list_that_may_not_be_read_is_a_problem_and_not_an_empty_list(aws: Aws, look: Any, operation: str) -> None:
    with pytest.raises(Failed, match="AWS refused"):
        look(refusing(operation)("eu-central-1"))


def test_a_proxy_in_front_of_the_instance_and_not_of_a_cluster_of_that_name(rds: Lab, aws: Aws) -> None:
    proxy(rds, "before-it", DBInstanceIdentifiers=["orders-prod"])
    proxy(rds, "before-nothing", DBInstanceIdentifiers=[])
    found = proxies(aws, "orders-prod", cluster=False)
    assert Proxy("before-it", "available", True) in found
    assert "before-nothing" not in [p.name for p in found if isinstance(p, Proxy)]
    assert proxies(aws, "orders-prod", cluster=True) == ()


def test_a_cluster_behind_a_proxy_is_one_target_with_its_instances() -> None:
    class Two(Aws):
        def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
            if operation == "describe_db_proxies":
                yield from ({"DBProxyName": n, "Status": "available"} for n in ("one", "two"))
                return
            yield {"Type": "TRACKED_CLUSTER", "RdsResourceId": "shop"}
            yield {"Type": "RDS_INSTANCE", "RdsResourceId": "shop-1", "TrackedClusterId": "shop"}
            if given["DBProxyName"] == "two":
                yield {"Type": "RDS_INSTANCE", "RdsResourceId": "bills"}

    aws = Two("eu-central-1")
    assert proxies(aws, "shop", True) == (Proxy("one", "available", True), Proxy("two", "available", False))
    assert proxies(aws, "shop-1", False) == ()
    assert proxies(aws, "bills", False) == (Proxy("two", "available", False),)


def test_secrets_are_found_by_name_description_and_tags_and_no_other_is_opened(rds: Lab, aws: Aws) -> None:
    secret(rds, "shop/main", {"host": HOST, "port": 5432})
    secret(rds, "by/description", {"endpoint": HOST}, "the login of shop")
    tagged = secret(rds, "by/tag", {"host": HOST})
    rds.client("secretsmanager").tag_resource(SecretId=tagged, Tags=[{"Key": "database", "Value": "shop"}])
    secret(rds, "unrelated", {"host": HOST})
    secret(rds, "shop/elsewhere", {"host": "bills.rds.example"})
    gone = secret(rds, "shop/gone", {"host": HOST})
    rds.client("secretsmanager").delete_secret(SecretId=gone)
    rds.client("secretsmanager").create_secret(Name="shop/empty")
    opened = []

    class Watched(Aws):
        def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
            opened.append(given["SecretId"])
            return super().call(service, operation, **given)

    found = secrets(Watched("eu-central-1"), "shop", [HOST, READER])
    assert [(s.secret, s.key, s.port_key) for s in found if isinstance(s, SecretKey)] == [
        ("by/description", "endpoint", None),
        ("by/tag", "host", None),
        ("shop/main", "host", "port"),
    ]
    assert [s for s in found if isinstance(s, Unread)] == []
    assert not [arn for arn in opened if "unrelated" in arn or "gone" in arn]


def test_a_secret_is_in_no_error_and_in_no_value(rds: Lab, aws: Aws) -> None:
    secret(rds, "vault/one", {"host": HOST, "password": "never-to-be-shown"}, "of vault")
    found = secrets(aws, "vault", [HOST])
    assert found
    assert "never-to-be-shown" not in repr(found)
