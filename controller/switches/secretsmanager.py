"""Secrets Manager: a JSON secret of the application's own that holds the connection, in which host and port change.

    {"kind": "secretsmanager", "secretId": "orders/db", "keys": {"host": "host", "port": "port"}}

Where it holds a login as well (keys username, password, dbname; `keys` may name others), that login is probed on the
arriving side before the pause. Applications see the change when they read the secret the next time; until then the
fence turns them away. Secrets that RDS manages, or that are rotated, are not written: their owner would overwrite ours,
and rotation knows the old server only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from encryptdb.controller.switches import Endpoint, Target, text
from encryptdb.controller.switches.logins import KEYS, ApplicationLogin, login_in
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Usage


@dataclass
class SecretsManager:
    """One secret, and the names of the keys in it that hold host and port."""

    secret_id: str
    host_key: str
    port_key: str | None
    from_: Endpoint
    to: Endpoint
    aws: Aws
    login_keys: Mapping[str, str] = field(default_factory=lambda: KEYS)
    kind: str = "secretsmanager"
    _before: Endpoint | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any], target: Target) -> "SecretsManager":
        """From the stack's config. Raises Usage."""
        keys = document.get("keys", {"host": "host", "port": "port"})
        if not isinstance(keys, Mapping) or not isinstance(keys.get("host"), str):
            raise Usage(f'keys: expected {{"host": …, "port": …}}, found {keys!r}.')
        return cls(
            text(document, "secretId"),
            keys["host"],
            keys.get("port"),
            target.from_,
            target.to,
            target.aws,
            {what: str(keys.get(what, usual)) for what, usual in KEYS.items()},
        )

    @property
    def name(self) -> str:
        return f"the secret {self.secret_id}"

    def probe(self) -> None:
        about = self.aws.call("secretsmanager", "describe_secret", SecretId=self.secret_id)
        if about.get("OwningService") or str(about.get("Name", "")).startswith("rds!"):
            raise Refused(
                f"{self.name} belongs to {about.get('OwningService') or 'rds'} and is not ours to write.",
                hint="Name the secret that the application reads; or take this switch out.",
            )
        if about.get("RotationEnabled"):
            raise Refused(
                f"{self.name} is rotated.",
                detail="The rotation would go on working on the old server, and may write over our change.",
                hint="Switch its rotation off until retire.",
            )
        found = self._endpoint(self._value())
        if not self._matches(found, self.from_):
            raise Refused(
                f"{self.name} does not point to {self.from_}.",
                detail=f"It says {found}.",
                hint=f"It is changed only where it names the side that is left. Its keys: {self._keys()}.",
            )

    def logins(self) -> Iterator[ApplicationLogin]:
        """The application's, if the secret holds it."""
        found = login_in(self.aws, self.secret_id, self.login_keys)
        if found is not None:
            yield found

    def pause(self, seconds: float) -> None:
        """Nobody can be held back by a secret."""

    def apply(self) -> None:
        value = self._value()
        if self._before is None:
            self._before = self._endpoint(value)
        self._write(value, self.to)

    def check(self) -> None:
        if not self._matches(self._endpoint(self._value()), self.to):
            raise Failed(f"{self.name} does not say {self.to} after it was written.")

    def undo(self) -> None:
        if self._before is not None:
            self._write(self._value(), self._before)

    def resume(self) -> None:
        """Nobody was held back."""

    def release(self) -> dict[str, Any] | None:
        return None

    def _write(self, value: dict[str, Any], endpoint: Endpoint) -> None:
        changed = dict(value)
        changed[self.host_key] = endpoint.host
        if self.port_key is not None:
            # Some keep the port as a string: the reader's parser expects what it had.
            as_text = isinstance(value.get(self.port_key), str)
            changed[self.port_key] = str(endpoint.port) if as_text else endpoint.port
        if changed != value:
            self.aws.call(
                "secretsmanager", "put_secret_value", SecretId=self.secret_id, SecretString=json.dumps(changed)
            )

    def _value(self) -> dict[str, Any]:
        answer = self.aws.call("secretsmanager", "get_secret_value", SecretId=self.secret_id)
        try:
            value = json.loads(answer["SecretString"])
        except (KeyError, ValueError):
            value = None
        if not isinstance(value, dict) or self.host_key not in value:
            # Never the value itself.
            raise Refused(
                f"{self.name} is not a JSON object with the key {self.host_key!r}.",
                hint=f"Its keys are expected to be {self._keys()}; set `keys` of this switch otherwise.",
            )
        return value

    def _endpoint(self, value: Mapping[str, Any]) -> Endpoint:
        port = value.get(self.port_key) if self.port_key else None
        return Endpoint(str(value[self.host_key]), int(str(port)) if str(port or "").isdigit() else 0)

    def _matches(self, found: Endpoint, wanted: Endpoint) -> bool:
        return found.host == wanted.host and (self.port_key is None or found.port in (wanted.port, 0))

    def _keys(self) -> str:
        return ", ".join(k for k in (self.host_key, self.port_key) if k)
