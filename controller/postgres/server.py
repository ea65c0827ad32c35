"""One database server: TLS verified, every statement with a timeout. Only here are connections opened, and the driver's
errors translated."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

import psycopg
from psycopg import Connection, Cursor, errors, sql
from psycopg.rows import TupleRow, class_row, tuple_row

from encryptdb.controller.postgres import lsn
from encryptdb.controller.postgres.login import Login
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.stacks.contract.errors import AGAIN, Failed, Problem

SideName = Literal["source", "target"]

CONNECT_SECONDS = 5
"""Timeout for connecting."""

STATEMENT_SECONDS = 60
"""Default statement_timeout."""

Db = Connection[TupleRow]


Query = str | bytes | sql.SQL | sql.Composed
Parameters = Sequence[Any] | Mapping[str, Any] | None
T = TypeVar("T")


@dataclass
class Server:
    """A source or a target. `db()` gives a cached autocommit connection per database; `connect()` a new one."""

    side: SideName
    host: str
    port: int
    login: Login
    purpose: str = "controller"
    stack: str = "NAME"
    """For hints."""
    _cache: dict[str, Db] = field(default_factory=dict, repr=False)

    def conninfo(self, database: str) -> dict[str, Any]:
        """Connection parameters without the password."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.login.user,
            "dbname": database,
            "connect_timeout": CONNECT_SECONDS,
            "sslmode": os.environ.get("PGSSLMODE", "verify-full"),
            "application_name": f"encryptdb {self.purpose} on {socket.gethostname()} pid {os.getpid()}"[:63],
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }

    def connect(self, database: str, *, statement_seconds: float = STATEMENT_SECONDS, **settings: str) -> Db:
        """A new autocommit connection. `settings` are session parameters, sent in the startup packet, where no
        statement log sees them. Raises Failed."""
        given = {
            "statement_timeout": str(int(statement_seconds * 1000)),
            "lock_timeout": "10000",
            "idle_in_transaction_session_timeout": "0",
            "default_transaction_read_only": "off",
            "client_min_messages": "warning",
        } | settings
        if not self.host:
            # Without a host libpq would look for a server on this very machine.
            raise Failed(
                f"The stack has no address for the {self.side}.",
                detail=f"Its outputs have {self.side}.host: null, as in the phase retire or if the server was deleted.",
            )
        with self.translated(database):
            # A prepared statement would outlive a change of the catalog it was planned for.
            connection = self._open(database, given, prepare_threshold=None)
        lsn.register(connection)
        return connection

    def connect_replication(self, database: str, **settings: str) -> Db:
        """A new connection to a logical walsender, without a statement timeout. Raises Failed, also if the role may not
        replicate or no walsender is free."""
        with self.translated(database):
            try:
                return self._open(database, settings, replication="database")
            except psycopg.OperationalError as error:
                said = str(error).strip().splitlines()[-1] if str(error).strip() else ""
                if "WAL sender" in said or "walsender" in said:
                    user = self.login.user
                    hint = f"GRANT rds_replication TO {user}; (outside RDS: ALTER ROLE {user} REPLICATION;)"
                    raise Failed(f"The role {user!r} may not read the slot.", detail=said, hint=hint) from None
                if "max_wal_senders" in said:
                    hint = "Each subscription needs one too: raise max_wal_senders, or end an unused walsender."
                    message = f"The {self.side} has no free walsender."
                    raise Failed(message, detail=said, hint=hint) from None
                raise

    def _open(self, database: str, settings: Mapping[str, str], **more: Any) -> Db:
        options = " ".join(f"-c {name}={_escape(value)}" for name, value in settings.items())
        password = self.login.password(self.host, self.port)
        while True:
            try:
                return psycopg.connect(
                    **self.conninfo(database),
                    password=password.reveal(),
                    options=options,
                    autocommit=True,
                    row_factory=tuple_row,
                    **more,
                )
            except psycopg.OperationalError as error:
                another = self.login.another(password) if _is_refusal(error) else None
                if another is None:
                    raise
                password = another

    def db(self, database: str = CONTROL_DATABASE) -> Db:
        """The cached connection to `database`, opened if needed."""
        cached = self._cache.get(database)
        if cached is None or cached.closed or cached.broken:
            cached = self._cache[database] = self.connect(database)
        return cached

    def turns_away(self, database: str, login: Login) -> str | None:
        """Return the server's error for this login, or None if the password was accepted. PostgreSQL authenticates
        before it checks CONNECT. Raises Failed if the server is unavailable."""
        other = Server(self.side, self.host, self.port, login, "login probe")
        with self.translated(database):
            try:
                other._open(database, {}).close()
            except psycopg.OperationalError as error:
                said = str(error).partition("FATAL:")[2].strip()
                if not said:
                    raise
                if said.startswith(("permission denied for database", "too many connections for")):
                    return None
                return said.splitlines()[0]
        return None

    def execute(self, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE) -> Cursor[TupleRow]:
        """Run one statement on the cached connection. Raises Problem, as all of these."""
        with self.translated(database):
            return self.db(database).execute(query, params)

    def row(self, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE) -> TupleRow | None:
        """The first row, or None."""
        return self.execute(query, params, database=database).fetchone()

    def value(self, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE) -> Any:
        """The first value of the first row, or None."""
        row = self.row(query, params, database=database)
        return row[0] if row is not None else None

    @overload
    def rows(
        self, cls: None, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE
    ) -> list[TupleRow]: ...

    @overload
    def rows(
        self, cls: type[T], query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE
    ) -> list[T]: ...

    def rows(
        self, cls: type[Any] | None, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE
    ) -> list[Any]:
        """All rows, each as a `cls` (a dataclass with the columns' names) or as a tuple."""
        with self.translated(database):
            return rows_of(self.db(database), cls, query, params)

    @contextlib.contextmanager
    def transaction(self, database: str = CONTROL_DATABASE) -> Iterator[Db]:
        """Run the block in a transaction on the cached connection, which is yielded."""
        with self.translated(database), (connection := self.db(database)).transaction():
            yield connection

    def close(self) -> None:
        """Close every cached connection."""
        for connection in self._cache.values():
            connection.close()
        self._cache.clear()

    def drop_cached(self, database: str) -> None:
        """Close the cached connection to one database, e.g. before it is dropped."""
        connection = self._cache.pop(database, None)
        if connection is not None:
            connection.close()

    def pids(self) -> list[int]:
        """Backend pids of the cached connections."""
        return [c.info.backend_pid for c in self._cache.values() if not c.closed]

    @contextlib.contextmanager
    def translated(self, database: str) -> Iterator[None]:
        """Translate the driver's errors inside the block into Problems."""
        try:
            yield
        except psycopg.Error as error:
            raise self.explain(error, database) from None

    def explain(self, error: psycopg.Error, database: str) -> Problem:
        """The Problem for a driver's error."""
        where = f"{self.side} {self.host}:{self.port}, database {database!r}"
        # The driver never puts the password into its messages; the first line is enough.
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        text = str(error)
        if _is_refusal(error):
            return Failed(
                f"The {self.side} rejected the login of {self.login.user!r}.",
                detail=f"{where}: {said}. The login came from {self.login.origin}.",
                hint="Check that secret or variable. A restored target keeps the passwords of the snapshot: after a "
                "rotation, set ENCRYPTDB_TARGET_PASSWORD to the older one.",
            )
        if error.sqlstate is None and "certificate" in text:
            return Failed(
                f"The {self.side}'s TLS certificate cannot be verified.",
                detail=f"{where}: {said}",
                hint="Download the RDS bundle (https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem) "
                "and set PGSSLROOTCERT to its path.",
            )
        if error.sqlstate is None and "does not exist" in text and "database" in text:
            return Failed(f"The {self.side} has no database {database!r}.", detail=f"{where}: {said}")
        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
            return Failed(
                f"A statement on the {self.side} timed out.",
                detail=f"{where}: {said}. It was rolled back.",
                hint=f"See what holds the lock (pg_stat_activity, pg_locks), then: {AGAIN}",
            )
        if isinstance(error, errors.InsufficientPrivilege):
            return Failed(
                f"The role {self.login.user!r} lacks a privilege on the {self.side}.",
                detail=f"{where}: {said}",
                hint=f"For all missing privileges: encryptdb preflight --stack {self.stack}",
            )
        # ProgrammingError without a SQLSTATE is the driver's own: nothing was asked of the server at all.
        silent = error.sqlstate is None and not isinstance(error, errors.ProgrammingError)
        if silent or isinstance(error, errors.OperationalError):
            return Failed(
                f"The {self.side} does not answer.",
                detail=f"{where}: {said}",
                hint="Check that the instance is available, that its security group allows this host, and that this "
                "host is in (or connected to) its VPC.",
            )
        return Failed(f"The {self.side} answered with an error.", detail=f"{where}: {said} (SQLSTATE {error.sqlstate})")


def rows_of(connection: Db, cls: type[Any] | None, query: Query, params: Parameters = None) -> list[Any]:
    """All rows of a query on any connection, as `Server.rows` gives them. Raises the driver's errors."""
    if cls is None:
        return connection.execute(query, params).fetchall()
    with connection.cursor(row_factory=class_row(cls)) as cursor:
        return cursor.execute(query, params).fetchall()


def at_once(connection: Db, statements: Query) -> list[list[TupleRow]]:
    """Run several statements in one round trip; the rows of each that gives any. Raises the driver's errors.

    Where one fails, those after it were not run, and the transaction that they left open is rolled back.
    """
    try:
        cursor = connection.execute(statements)
    except psycopg.Error:
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        raise
    found = []
    while True:
        if cursor.description is not None:
            found.append(cursor.fetchall())
        if not cursor.nextset():
            return found


def _is_refusal(error: psycopg.Error) -> bool:
    # libpq gives no SQLSTATE for a failure to connect, only the server's message.
    refused = isinstance(error, errors.InvalidPassword | errors.InvalidAuthorizationSpecification)
    return refused or (error.sqlstate is None and "authentication failed" in str(error))


def _escape(value: str) -> str:
    """Escape one value for libpq's `options`: spaces and backslashes."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
