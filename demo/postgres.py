"""Connections to the demo's servers, and the names they go by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

Connection: TypeAlias = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT = 5
"""Seconds until an attempt to connect is given up; each caller has its own deadline for trying again."""


@dataclass(frozen=True)
class Login:
    """Where a database server or pooler is, and as whom to log in. `ca` is the path of a CA bundle: with it the
    server's certificate and name are verified; without it there is no TLS (the pooler is on loopback, and some builds
    of PostgreSQL have none)."""

    host: str
    port: int
    user: str
    password: str
    ca: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.user}@{self.host}:{self.port})"

    def as_user(self, user: str, password: str) -> "Login":
        """The same server, another role."""
        return replace(self, user=user, password=password)

    def connect(self, database: str) -> Connection:
        """A connection in autocommit mode. Raises psycopg.OperationalError if there is none within CONNECT_TIMEOUT."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            sslmode="verify-full" if self.ca else "disable",
            sslrootcert=self.ca or "",
            connect_timeout=CONNECT_TIMEOUT,
            autocommit=True,
            # A transaction pooler gives every transaction another server session: nothing may be prepared in one.
            prepare_threshold=None,
        )


def scram_verifier(connection: Connection, user: str, password: str) -> str:
    """What `pg_authid` would hold for `password`, computed here: the password itself is in no statement and no log."""
    return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()


def one(
    connection: Connection, query: LiteralString | sql.Composed, parameters: Sequence[Any] | None = None
) -> TupleRow:
    """The single row of `query`. Raises AssertionError if there is none: that is a mistake of the caller."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None, "the query returned no row"
    return row
