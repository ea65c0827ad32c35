"""How the applications find their database: through a pooler, or by a secret that they read when they connect."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import boto3
import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from demo.postgres import Connection, Login


class Access(Protocol):
    """The way from an application to its database, which the cutover switches."""

    holds_back: bool
    """Whether it makes applications wait during the pause, so that none sees an error."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the controller needs to switch it."""
        ...

    def switch(self) -> dict[str, Any]:
        """It as the stack's config describes it, in the list `switches`."""
        ...

    def connector(self, database: str) -> Callable[[], Connection]:
        """What an application calls to get a connection to `database`. It raises psycopg.OperationalError."""
        ...

    def stop(self) -> None:
        """End what was started; again is no error."""
        ...


class ConnectionSecret:
    """A Secrets Manager secret with host and port: the way for machines without PgBouncer."""

    holds_back = False
    environment: Mapping[str, str] = MappingProxyType({})
    NAME = "demo/connection"

    def __init__(self, aws: Mapping[str, str], server: Login, app: Login) -> None:
        """Make the secret in the account that the variables `aws` lead to, naming `server`."""
        self._app = app
        session = boto3.session.Session(aws["AWS_ACCESS_KEY_ID"], aws["AWS_SECRET_ACCESS_KEY"])
        self._client: Any = session.client(
            "secretsmanager", endpoint_url=aws["AWS_ENDPOINT_URL"], region_name=aws["AWS_REGION"]
        )
        where = json.dumps({"host": server.host, "port": server.port})
        self._client.create_secret(Name=self.NAME, SecretString=where)

    def switch(self) -> dict[str, Any]:
        return {"kind": "secretsmanager", "secretId": self.NAME}

    def connector(self, database: str) -> Callable[[], Connection]:
        return lambda: self._login().connect(database)

    def stop(self) -> None:
        """The secret goes with the lab."""

    def _login(self) -> Login:
        try:
            where = json.loads(self._client.get_secret_value(SecretId=self.NAME)["SecretString"])
        except (BotoCoreError, ClientError) as error:
            raise psycopg.OperationalError(f"the connection secret cannot be read: {error}") from error
        return Login(where["host"], int(where["port"]), self._app.user, self._app.password, self._app.ca)
