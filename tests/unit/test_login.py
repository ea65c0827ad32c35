"""Whom we log in as: which source of a login comes first, and when its password is asked for."""

import json
from dataclasses import replace
from typing import Any

import pytest

from encryptdb.controller.postgres.login import SecretLogin, login
from encryptdb.stacks.contract.errors import Failed, Usage
from encryptdb.stacks.contract.outputs import Side
from tests.unit.test_outputs import OUTPUTS

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders"
BOTH = replace(
    OUTPUTS, source=Side("orders", "db-1", "source.example", 5432), target=Side("copy", "db-2", "target.example", 5433)
)


class FakeAws:
    """Secrets Manager with one secret, and a maker of tokens; counts how often each is asked."""

    def __init__(self, **value: Any) -> None:
        self.value, self.asked = value, 0

    def call(self, service: str, operation: str, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return {"SecretString": json.dumps(self.value)}

    def rds_token(self, host: str, port: int, user: str) -> str:
        self.asked += 1
        return f"token {self.asked} of {user} for {host}:{port}"


def test_the_environment_comes_before_the_secret() -> None:
    aws: Any = FakeAws(username="master", password="from the secret")
    outputs = replace(BOTH, source=replace(BOTH.source, secret_arn=SECRET))
    environ = {"ENCRYPTDB_SOURCE_USER": "me", "ENCRYPTDB_SOURCE_PASSWORD": "mine"}
    found = login("source", outputs, aws, environ)
    assert (found.user, found.password("", 0).reveal(), found.origin) == ("me", "mine", "ENCRYPTDB_SOURCE_PASSWORD")
    assert aws.asked == 0
    assert login("source", outputs, aws, {}).password("", 0).reveal() == "from the secret"


def test_the_target_has_the_sources_login_unless_it_has_its_own() -> None:
    aws: Any = FakeAws()
    environ = {"ENCRYPTDB_SOURCE_USER": "me", "ENCRYPTDB_SOURCE_PASSWORD": "mine"}
    assert login("target", BOTH, aws, environ).password("", 0).reveal() == "mine"
    found = login("target", BOTH, aws, environ | {"ENCRYPTDB_TARGET_PASSWORD": "the older one"})
    assert (found.user, found.password("", 0).reveal()) == ("me", "the older one")


def test_a_token_is_made_for_each_connection_and_its_address() -> None:
    aws: Any = FakeAws()
    found = login("target", replace(BOTH, auth="iam"), aws, {"ENCRYPTDB_SOURCE_USER": "me"})
    assert aws.asked == 0
    assert found.password("reader.example", 5433).reveal() == "token 1 of me for reader.example:5433"
    assert found.password("target.example", 5433).reveal() == "token 2 of me for target.example:5433"


def test_a_secret_is_read_again_only_where_its_password_was_refused() -> None:
    aws: Any = FakeAws(username="master", password="old")
    found = SecretLogin(SECRET, aws)
    old = found.password("", 0)
    assert found.another(old) is None, "it is what it was"
    aws.value["password"] = "new"
    assert found.password("", 0).reveal() == "old"
    another = found.another(old)
    assert another is not None
    assert another.reveal() == found.password("", 0).reveal() == "new"
    asked = aws.asked
    # A second connection that was refused at the same time finds what the first one has read.
    again = found.another(old)
    assert again is not None
    assert (again.reveal(), aws.asked) == ("new", asked)


def test_the_password_of_another_role_is_of_no_use() -> None:
    aws: Any = FakeAws(username="master", password="old")
    found = SecretLogin(SECRET, aws)
    aws.value.update(username="master_clone", password="new")
    assert found.another(found.password("", 0)) is None


def test_what_is_no_login_is_said_without_its_text() -> None:
    aws: Any = FakeAws(username="master", pass_word="hidden")
    with pytest.raises(Failed, match="does not hold a login") as told:
        SecretLogin(SECRET, aws)
    assert "hidden" not in f"{told.value.message} {told.value.detail} {told.value.hint}"
    with pytest.raises(Usage, match="no login for the source"):
        login("source", BOTH, aws, {})
    with pytest.raises(Usage, match="ENCRYPTDB_SOURCE_USER is not"):
        login("source", BOTH, aws, {"ENCRYPTDB_SOURCE_PASSWORD": "mine"})
