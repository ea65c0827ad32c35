"""Whether applications may log in to the arriving side, learnt before the pause although it is closed to them."""

import json
from typing import Any

import pytest

from encryptdb.controller.commands import cutover
from encryptdb.controller.cutover import logins
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres.login import Login, Secret, SecretLogin
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.switches import ApplicationLogin
from encryptdb.stacks.contract.errors import Failed, Refused
from tests.cutover.rig import DATABASES, PASSWORD, World

# Roles that must give a password: pg_hba.conf of these servers trusts all others.
HBA = "host all with_password,no_login,not_there,limited 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture(scope="module")
def asking(world: World) -> World:
    """The target asks some roles for their password."""
    hba = world.target.data / "pg_hba.conf"
    hba.write_text(HBA + hba.read_text())
    world.target.sql("SELECT pg_reload_conf()")
    world.target.sql("CREATE ROLE with_password LOGIN PASSWORD 'right'")
    world.target.sql("CREATE ROLE no_login NOLOGIN PASSWORD 'right'")
    world.target.sql("CREATE ROLE limited LOGIN PASSWORD 'right' CONNECTION LIMIT 0")
    return world


def tried(world: World, user: str, password: str, database: str | None = "app") -> int:
    with world.migration() as m:
        direction = Direction.cutover(m, observe(m).migrated)
        return logins.probe(
            direction, [ApplicationLogin(Login(user, Secret(password), "the secret orders/db"), database)]
        )


@pytest.mark.parametrize("database", ["app", None, "one that does not move"])
def test_a_right_password_is_proved_by_a_database_that_lets_nobody_in(asking: World, database: str | None) -> None:
    assert tried(asking, "with_password", "right", database) == 1


def test_a_role_whose_connections_are_used_up_has_proved_its_password(asking: World) -> None:
    assert tried(asking, "limited", "right") == 1


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        ("with_password", "wrong", 'password authentication failed for user "with_password"'),
        ("not_there", "right", 'password authentication failed for user "not_there"'),
        ("no_login", "right", 'role "no_login" is not permitted to log in'),
    ],
)
def test_who_would_be_turned_away_is_told_with_the_name_of_the_secret(
    asking: World, user: str, password: str, said: str
) -> None:
    with pytest.raises(Refused, match="rejects logins of applications") as told:
        tried(asking, user, password)
    assert f"the secret orders/db, role '{user}': {said}" in (told.value.detail or "")
    assert f"'{password}'" not in f"{told.value.detail} {told.value.hint}"


def test_a_server_that_is_silent_is_no_wrong_password(world: World) -> None:
    nobody = Server("target", "127.0.0.1", 1, Login("master", Secret("x"), "the test"))
    with pytest.raises(Failed, match="does not answer"):
        nobody.turns_away("app", Login("app", Secret("x"), "the test"))


class OneSecret:
    """Secrets Manager with one secret."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    def call(self, service: str, operation: str, **_: Any) -> dict[str, Any]:
        return {"SecretString": json.dumps(self.value)} if operation == "get_secret_value" else {"Name": "orders/db"}


def test_a_cutover_is_refused_before_the_pause_where_a_secret_of_its_switch_is_out_of_date(asking: World) -> None:
    """The password was changed on the source after the snapshot."""
    secret = {"host": "127.0.0.1", "port": asking.source.port, "username": "with_password", "password": "new"}
    asking.switches = ({"kind": "secretsmanager", "secretId": "orders/db"},)
    asking.aws = OneSecret(secret | {"dbname": DATABASES[1]})
    try:
        with asking.migration(dry_run=True) as m, pytest.raises(Refused, match="rejects logins of applications"):
            cutover.run(m)
        asking.target.sql("ALTER ROLE with_password PASSWORD 'new'")
        with asking.migration(dry_run=True) as m:
            assert cutover.run(m)["dry_run"] is True
        assert any("accepts the login of 1 secret" in line for line in asking.said)
    finally:
        asking.target.sql("ALTER ROLE with_password PASSWORD 'right'")
        asking.switches, asking.aws = (), None


def test_a_secret_that_was_rotated_meanwhile_is_read_again(world: World) -> None:
    secrets: Any = OneSecret({"username": "master", "password": "of yesterday"})
    server = Server("source", "127.0.0.1", world.source.port, SecretLogin("orders/db", secrets))
    with pytest.raises(Failed, match="rejected the login"):
        server.value("SELECT 1")
    secrets.value["password"] = PASSWORD
    assert server.value("SELECT 1") == 1
    server.close()
