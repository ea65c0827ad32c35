"""Logins: from environment variables, else the side's secret, else IAM authentication (DESIGN.md).

The password is read for each new connection, so that a rotated one is used.
"""

import json
import os
import threading
from collections.abc import Mapping
from typing import Literal

from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Usage
from encryptdb.stacks.contract.outputs import Outputs, Side


class Secret:
    """A password. `str()`, `repr()` and formatting show asterisks; `reveal()` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__


class Login:
    """A role with a fixed password. `origin` is for messages: a variable's name or a secret's ARN."""

    def __init__(self, user: str, password: Secret, origin: str) -> None:
        self.user, self.origin = user, origin
        self._password = password

    def password(self, host: str, port: int) -> Secret:
        """The password for a new connection to this address."""
        return self._password

    def another(self, refused: Secret) -> Secret | None:
        """A newer password than the one the server rejected, or None."""
        return None


class IamLogin(Login):
    """RDS IAM authentication. A token is valid for one address and 15 minutes, so each connection gets its own."""

    def __init__(self, user: str, aws: Aws) -> None:
        super().__init__(user, Secret(""), "IAM authentication")
        self.aws = aws

    def password(self, host: str, port: int) -> Secret:
        return Secret(self.aws.rds_token(host, port, self.user))


class SecretLogin(Login):
    """A login from Secrets Manager, read again if the server rejects the password, because secrets can be rotated.

    Raises Failed if the secret cannot be read or holds no login."""

    def __init__(self, arn: str, aws: Aws) -> None:
        super().__init__(*_read(arn, aws), origin=f"the secret {arn}")
        self.arn, self.aws = arn, aws
        self._lock = threading.Lock()

    def another(self, refused: Secret) -> Secret | None:
        # Several threads open connections: the first one rejected reads it for all.
        with self._lock:
            if self._password.reveal() == refused.reveal():
                user, password = _read(self.arn, self.aws)
                if user != self.user or password.reveal() == refused.reveal():
                    return None
                self._password = password
            return self._password


def login(
    name: Literal["source", "target"], outputs: Outputs, aws: Aws, environ: Mapping[str, str] = os.environ
) -> Login:
    """The login for one side. The target's defaults to the source's: a restored copy has the roles of the snapshot.
    Raises Usage without a login, Failed if a secret cannot be read."""
    side = outputs.source if name == "source" else outputs.target
    assert side is not None, "a target's login is asked for only when there is a target"
    found = _own(name, side, outputs, aws, environ)
    if found is None and name == "target":
        found = _own("source", outputs.source, outputs, aws, environ)
    if found is None:
        raise Usage(
            f"There is no login for the {name}.",
            detail="Neither ENCRYPTDB_SOURCE_USER and ENCRYPTDB_SOURCE_PASSWORD, nor a secret in the stack "
            "(sourceSecret), nor auth: iam.",
            hint="Set the two variables in the pipeline's secret store, or sourceSecret in the stack's config.",
        )
    return found


def _own(name: str, side: Side, outputs: Outputs, aws: Aws, environ: Mapping[str, str]) -> Login | None:
    prefix = f"ENCRYPTDB_{name.upper()}"
    password = environ.get(f"{prefix}_PASSWORD")
    user = environ.get(f"{prefix}_USER") or environ.get("ENCRYPTDB_SOURCE_USER")
    if password:
        if not user:
            raise Usage(
                f"{prefix}_PASSWORD is set, but {prefix}_USER is not.", hint=f"Set {prefix}_USER to the role's name."
            )
        return Login(user, Secret(password), f"{prefix}_PASSWORD")
    if side.secret_arn:
        return SecretLogin(side.secret_arn, aws)
    if outputs.auth == "iam" and user:
        return IamLogin(user, aws)
    return None


def _read(arn: str, aws: Aws) -> tuple[str, Secret]:
    answer = aws.call("secretsmanager", "get_secret_value", SecretId=arn)
    try:
        document = json.loads(answer["SecretString"])
        return document["username"], Secret(document["password"])
    except (KeyError, ValueError, TypeError):
        # The cause would quote the secret's text.
        raise Failed(
            f"The secret {arn} does not hold a login.",
            detail="Expected a JSON object with the keys username and password.",
            hint="RDS-managed secrets have this form; make yours the same.",
        ) from None
