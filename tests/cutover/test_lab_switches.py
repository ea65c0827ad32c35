"""Route 53 and RDS Proxy as switches, against the lab's API: what it says AWS would say."""

from collections.abc import Iterator
from typing import Any

import pytest

from encryptdb.controller.switches import Endpoint, build
from encryptdb.controller.waiting import SystemClock
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Usage
from tests.kit.lab import Lab, start_lab
from tests.kit.migration import reporter

NEW_INSTANCE = "orders-encrypted-1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = start_lab(tmp_path_factory.mktemp("lab") / "lab")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lab.env.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def other(lab: Lab) -> str:
    """A second instance, to register instead of the first."""
    lab.create(NEW_INSTANCE, DBInstanceClass="db.m6g.large")
    return NEW_INSTANCE


OLD = Endpoint("127.1.2.3", 5432, "left")
NEW = Endpoint("127.1.2.4", 5432, NEW_INSTANCE)
NAMED_OLD, NAMED_NEW = Endpoint("old.rds.amazonaws.com", 5432), Endpoint("new.rds.amazonaws.com", 5432)


class Zone:
    """A hosted zone of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.client = lab.client("route53")
        self.id = self.client.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"]

    def put(self, name: str, value: str, kind: str = "A", **more: Any) -> None:
        record = {"Name": name, "Type": kind, "TTL": 300, "ResourceRecords": [{"Value": value}]} | more
        self.client.change_resource_record_sets(
            HostedZoneId=self.id, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        )

    def values(self) -> dict[str, tuple[int, list[str]]]:
        found = self.client.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return {
            s["Name"]: (s["TTL"], [r["Value"] for r in s["ResourceRecords"]])
            for s in found
            if s["Type"] in ("A", "CNAME")
        }

    def switch(self, *records: str, old: Endpoint = OLD, new: Endpoint = NEW) -> Any:
        document = {"kind": "route53", "hostedZoneId": self.id, "records": list(records)}
        (made,) = build((document,), old, new, Aws("eu-central-1"))
        return made


def test_records_of_the_old_host_get_the_new_one_and_keep_their_ttl(lab: Lab) -> None:
    zone = Zone(lab, "records.test")
    zone.put("db.records.test", OLD.host)
    zone.put("other.records.test", "127.9.9.9", TTL=60)
    made = zone.switch("db.records.test")
    assert "up to 300 s (the TTL)" in made.probe()
    made.pause(1)
    made.apply()
    made.check()
    made.resume()
    moved = {"db.records.test.": (300, [NEW.host]), "other.records.test.": (60, ["127.9.9.9"])}
    assert zone.values() == moved
    made.apply()
    assert len(made._changed) == 1
    zone.switch("db.records.test", old=NEW, new=OLD).apply()
    assert zone.values() == moved | {"db.records.test.": (300, [OLD.host])}


def test_a_change_is_waited_for_until_it_has_spread(lab: Lab) -> None:
    zone = Zone(lab, "pending.test")
    zone.put("db.pending.test", OLD.host)
    made = zone.switch("db.pending.test")
    made.apply()
    made.check()
    (change,) = made._changed
    made.settle(reporter([]), SystemClock())
    assert zone.client.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC"
    assert made._changed == []


def test_names_are_compared_as_dns_does(lab: Lab) -> None:
    zone = Zone(lab, "cname.test")
    zone.put("db.cname.test", "OLD.rds.amazonaws.com.", kind="CNAME")
    made = zone.switch("DB.cname.test.", old=NAMED_OLD, new=NAMED_NEW)
    made.probe()
    made.apply()
    made.check()
    assert zone.values() == {"db.cname.test.": (300, ["new.rds.amazonaws.com"])}


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (None, "has no A record db.refused.test"),
        ({"value": "127.9.9.9"}, r"does not name 127\.1\.2\.3"),
        ({"value": OLD.host, "SetIdentifier": "one", "Weight": 1}, "is an alias, or has a routing policy"),
    ],
)
def test_a_record_that_is_not_plainly_the_old_hosts_is_refused(lab: Lab, put: Any, says: str) -> None:
    zone = Zone(lab, "refused.test")
    if put is not None:
        zone.put("db.refused.test", **put)
    with pytest.raises(Refused, match=says):
        zone.switch("db.refused.test").probe()


def test_a_record_cannot_change_the_port(lab: Lab) -> None:
    with pytest.raises(Refused, match="cannot change the port from 5432 to 5433"):
        Zone(lab, "port.test").switch("db.port.test", new=Endpoint(NEW.host, 5433)).probe()


class Proxy:
    """An RDS Proxy of the lab, with the instance of `lab start` behind it."""

    def __init__(self, lab: Lab, name: str, behind: str | None = None) -> None:
        self.lab, self.name, self.client = lab, name, lab.client("rds")
        groups = self.client.describe_db_subnet_groups()["DBSubnetGroups"]
        self.client.create_db_proxy(
            DBProxyName=name,
            EngineFamily="POSTGRESQL",
            Auth=[{"AuthScheme": "SECRETS", "SecretArn": lab.source["secret_arn"]}],
            RoleArn="arn:aws:iam::123456789012:role/proxy",
            VpcSubnetIds=[s["SubnetIdentifier"] for s in groups[0]["Subnets"]],
        )
        self.client.register_db_proxy_targets(
            DBProxyName=name, DBInstanceIdentifiers=[behind or lab.source["identifier"]]
        )

    def targets(self) -> list[str]:
        return [t["RdsResourceId"] for t in self.client.describe_db_proxy_targets(DBProxyName=self.name)["Targets"]]

    def switch(self, new: str = NEW_INSTANCE, old: str | None = None) -> Any:
        sides = Endpoint("127.1.2.3", 5432, old or self.lab.source["identifier"]), Endpoint("127.1.2.4", 5432, new)
        (made,) = build(({"kind": "rds-proxy", "proxy": self.name},), *sides, Aws("eu-central-1"))
        return made


def test_the_instance_behind_a_proxy_is_exchanged(lab: Lab, other: str) -> None:
    proxy = Proxy(lab, "exchanged")
    made = proxy.switch()
    made.probe()
    made.pause(1)
    assert proxy.targets() == [lab.source["identifier"]]
    made.apply()
    made.check()
    made.resume()
    assert proxy.targets() == [other]
    made.apply()
    made.check()
    proxy.switch(lab.source["identifier"], old=other).apply()
    assert proxy.targets() == [lab.source["identifier"]]


def test_one_that_was_cut_off_between_the_two_calls_is_completed(lab: Lab, other: str) -> None:
    proxy = Proxy(lab, "cut-off")
    proxy.client.deregister_db_proxy_targets(DBProxyName=proxy.name, DBInstanceIdentifiers=[lab.source["identifier"]])
    made = proxy.switch()
    made.apply()
    made.check()
    assert proxy.targets() == [other]


def test_a_proxy_before_another_instance_is_refused(lab: Lab, other: str) -> None:
    with pytest.raises(Refused, match="does not have orders-prod as its only target") as told:
        Proxy(lab, "elsewhere", other).switch().probe()
    assert other in (told.value.detail or "")


def test_a_proxy_that_is_not_there_is_refused(lab: Lab) -> None:
    (made,) = build(({"kind": "rds-proxy", "proxy": "nowhere"},), OLD, NEW, Aws("eu-central-1"))
    with pytest.raises(Refused, match="There is no RDS Proxy 'nowhere'"):
        made.probe()


def test_an_instance_that_cannot_be_registered_is_told_in_awss_words(lab: Lab) -> None:
    proxy = Proxy(lab, "unknown-target")
    with pytest.raises(Exception, match="rds register_db_proxy_targets") as told:
        proxy.switch("no-such-instance").apply()
    assert "no-such-instance" in str(getattr(told.value, "detail", ""))


def test_the_check_does_not_pass_before_the_instance_is_registered(lab: Lab) -> None:
    with pytest.raises(Failed, match="does not list orders-encrypted-1 as a target"):
        Proxy(lab, "unregistered").switch().check()


def test_a_proxy_knows_the_logins_that_it_uses(lab: Lab) -> None:
    made = Proxy(lab, "logins").switch()
    (found,) = made.logins()
    assert (found.login.user, found.login.password("", 0).reveal()) == ("master", lab.source["password"])
    assert lab.source["password"] not in repr(found)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"kind": "route53", "hostedZoneId": 5, "records": ["x"]}, "hostedZoneId"),
        ({"kind": "route53", "hostedZoneId": "Z", "records": "x"}, "records"),
        ({"kind": "rds-proxy"}, "proxy"),
        ({"kind": "rds-proxy", "proxy": "p", "targetGroup": 1}, "targetGroup"),
    ],
)
def test_a_wrong_config_names_its_key(document: dict[str, Any], key: str) -> None:
    with pytest.raises(Usage, match=rf"switches\[0\]\.{key}: expected"):
        build((document,), OLD, NEW, Aws("eu-central-1"))
