"""A connection secret as a switch: only host and port change, and secrets that are not ours are left alone."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from encryptdb.controller.switches import Endpoint, build
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Refused, Usage

OLD, NEW = Endpoint("orders.internal", 5432), Endpoint("orders-encrypted.internal", 5433)
REGION = "eu-central-1"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name=REGION)


def switch(old: Endpoint = OLD, new: Endpoint = NEW, **more: Any) -> Any:
    (made,) = build(({"kind": "secretsmanager", "secretId": "orders/db"} | more,), old, new, Aws(REGION))
    return made


def stored(client: Any) -> Any:
    return json.loads(client.get_secret_value(SecretId="orders/db")["SecretString"])


def keep(client: Any, value: Any) -> None:
    client.create_secret(Name="orders/db", SecretString=value if isinstance(value, str) else json.dumps(value))


def test_host_and_port_change_and_all_else_stays(client: Any) -> None:
    before = {"host": OLD.host, "port": OLD.port, "username": "app", "password": "p", "extra": {"ssl": True}}
    keep(client, before)
    made = switch()
    made.probe()
    made.pause(1)
    assert stored(client) == before
    made.apply()
    made.check()
    made.resume()
    assert stored(client) == before | {"host": NEW.host, "port": NEW.port}
    versions = client.list_secret_version_ids(SecretId="orders/db", IncludeDeprecated=True)["Versions"]
    made.apply()
    assert client.list_secret_version_ids(SecretId="orders/db", IncludeDeprecated=True)["Versions"] == versions
    switch(NEW, OLD).apply()
    assert stored(client) == before


def test_a_port_that_is_text_stays_text_and_the_keys_may_have_other_names(client: Any) -> None:
    keep(client, {"DB_HOST": OLD.host, "DB_PORT": "5432"})
    made = switch(keys={"host": "DB_HOST", "port": "DB_PORT"})
    made.probe()
    made.apply()
    made.check()
    assert stored(client) == {"DB_HOST": NEW.host, "DB_PORT": "5433"}


def test_one_that_points_elsewhere_is_refused(client: Any) -> None:
    keep(client, {"host": "somebody.else", "port": 5432})
    with pytest.raises(Refused, match=r"does not point to orders\.internal:5432"):
        switch().probe()


def test_one_that_is_rotated_is_refused(client: Any) -> None:
    keep(client, {"host": OLD.host, "port": 5432})
    client.rotate_secret(SecretId="orders/db", RotationRules={"AutomaticallyAfterDays": 30})
    with pytest.raises(Refused, match="has rotation enabled"):
        switch().probe()


def test_one_that_rds_manages_is_refused(client: Any) -> None:
    client.create_secret(Name="rds!db-1234", SecretString=json.dumps({"host": OLD.host, "port": 5432}))
    with pytest.raises(Refused, match="is managed by the service rds"):
        switch(secretId="rds!db-1234").probe()


def test_one_that_is_no_json_is_refused_without_showing_it(client: Any) -> None:
    keep(client, "host=orders.internal password=hunter2")
    with pytest.raises(Refused, match="is not a JSON object") as told:
        switch().probe()
    assert "hunter2" not in f"{told.value} {told.value.detail} {told.value.hint}"


@pytest.mark.parametrize("change", [{"secretId": 7}, {"keys": ["host"]}, {"keys": {"port": "port"}}])
def test_a_wrong_config_names_its_key(change: dict[str, Any]) -> None:
    with pytest.raises(Usage, match=rf"switches\[0\]\.{next(iter(change))}: expected"):
        switch(**change)
