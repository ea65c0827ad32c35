"""Logins that applications use, as far as switches know them: the secrets that a switch changes or that a proxy has.

They are probed on the arriving side before the pause: a password changed since the snapshot is not replicated.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.stacks.cloud.client import Aws

KEYS = {"username": "username", "password": "password", "database": "dbname"}
"""Where a login is in a secret, unless the switch's `keys` say otherwise: as in the secrets that RDS makes."""


@dataclass(frozen=True)
class ApplicationLogin:
    """A login, and the database it is for (None: whichever)."""

    login: Login
    database: str | None


@runtime_checkable
class KnowsLogins(Protocol):
    """A switch that knows with what applications log in."""

    def logins(self) -> Iterable[ApplicationLogin]:
        """Raises a Problem where a secret cannot be read."""
        ...


def login_in(aws: Aws, secret_id: str, keys: Mapping[str, str] = KEYS) -> ApplicationLogin | None:
    """The login that a secret holds; None where it holds none. Raises Failed or NotFound where it cannot be read."""
    answer = aws.call("secretsmanager", "get_secret_value", SecretId=secret_id)
    try:
        value: Any = json.loads(answer["SecretString"])
    except (KeyError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    user, password = value.get(keys["username"]), value.get(keys["password"])
    if not isinstance(user, str) or not isinstance(password, str) or not user or not password:
        return None
    database = value.get(keys["database"])
    return ApplicationLogin(
        Login(user, Secret(password), f"the secret {secret_id}"), str(database) if database else None
    )
