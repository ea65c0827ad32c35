"""Secrets Manager: the JSON secret from which an application reads its connection; its host and port are changed.

    {"kind": "secretsmanager", "secretId": "orders/db", "keys": {"host": "host", "port": "port"}}

If it holds a login as well (keys username, password, dbname; `keys` may name others), that login is tried on the
arriving side before the pause. Applications see the change when they next read the secret; until then the fence refuses
them. A secret that RDS manages or that is rotated is not written: its owner would overwrite the change, and rotation
knows the old server only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.switches import ApplicationLogin, Context, Endpoint, Switch, text
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Usage

LOGIN_KEYS = {"username": "username", "password": "password", "database": "dbname"}
"""Where a secret holds a login, unless the switch's `keys` say otherwise: as in the secrets that RDS creates."""


@dataclass
class SecretsManager(Switch):
    """One secret, and the names of its keys that hold host, port and login."""

    secret_id: str
    host_key: str
    port_key: str | None
    login_keys: Mapping[str, str]
    kind = "secretsmanager"

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "SecretsManager":
        keys = document.get("keys", {"host": "host", "port": "port"})
        if not isinstance(keys, Mapping) or not isinstance(keys.get("host"), str):
            raise Usage(f'keys: expected {{"host": …, "port": …}}, found {keys!r}.')
        login_keys = {what: str(keys.get(what, usual)) for what, usual in LOGIN_KEYS.items()}
        return cls(context, text(document, "secretId"), keys["host"], keys.get("port"), login_keys)

    @property
    def name(self) -> str:
        return f"the secret {self.secret_id}"

    def probe(self) -> None:
        about = self.aws.call("secretsmanager", "describe_secret", SecretId=self.secret_id)
        if owner := managed_by(str(about.get("Name", "")), about.get("OwningService")):
            raise Refused(
                f"{self.name} is managed by the service {owner}, which would overwrite a change.",
                hint="Name the secret that the application reads, or remove this switch.",
            )
        if about.get("RotationEnabled"):
            raise Refused(
                f"{self.name} has rotation enabled.",
                detail="Rotation would keep working on the old server, and may overwrite the change.",
                hint=f"Disable it until retire: aws secretsmanager cancel-rotate-secret --secret-id {self.secret_id}",
            )
        found = self._endpoint(self._value())
        if not self._matches(found, self.from_):
            raise Refused(
                f"{self.name} does not point to {self.from_}.",
                detail=f"It points to {found}, in its keys {self._keys()}.",
                hint="Name a secret that points to the database, or remove this switch.",
            )

    def logins(self) -> Iterator[ApplicationLogin]:
        """The application's login, if the secret holds one."""
        found = login_in(self.aws, self.secret_id, self.login_keys)
        if found is not None:
            yield found

    def apply(self) -> None:
        value = self._value()
        changed = value | {self.host_key: self.to.host}
        if self.port_key is not None:
            # Some applications keep the port as a string: it keeps its type.
            as_text = isinstance(value.get(self.port_key), str)
            changed[self.port_key] = str(self.to.port) if as_text else self.to.port
        if changed != value:
            self.aws.call(
                "secretsmanager", "put_secret_value", SecretId=self.secret_id, SecretString=json.dumps(changed)
            )

    def check(self) -> None:
        if not self._matches(self._endpoint(self._value()), self.to):
            raise Failed(f"{self.name} does not point to {self.to} after it was written.")

    def _value(self) -> dict[str, Any]:
        answer = self.aws.call("secretsmanager", "get_secret_value", SecretId=self.secret_id)
        try:
            value = json.loads(answer["SecretString"])
        except (KeyError, ValueError):
            value = None
        if not isinstance(value, dict) or self.host_key not in value:
            # The message must not quote the value.
            raise Refused(
                f"{self.name} is not a JSON object with the key {self.host_key!r}.",
                hint="Set `keys` of this switch to the names of the secret's keys that hold host and port.",
            )
        return value

    def _endpoint(self, value: Mapping[str, Any]) -> Endpoint:
        port = value.get(self.port_key) if self.port_key else None
        return Endpoint(str(value[self.host_key]), int(str(port)) if str(port or "").isdigit() else 0)

    def _matches(self, found: Endpoint, wanted: Endpoint) -> bool:
        return found.host == wanted.host and (self.port_key is None or found.port in (wanted.port, 0))

    def _keys(self) -> str:
        return ", ".join(k for k in (self.host_key, self.port_key) if k)


def managed_by(name: str, owner: str | None) -> str | None:
    """The AWS service that manages a secret, or None. RDS's own are named `rds!…`."""
    return owner or ("rds" if name.startswith("rds!") else None)


def login_in(aws: Aws, secret_id: str, keys: Mapping[str, str] = LOGIN_KEYS) -> ApplicationLogin | None:
    """The login that a secret holds, or None. Raises Failed or NotFound if it cannot be read."""
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


SWITCH = SecretsManager
