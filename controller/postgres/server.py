"""One database server, and how we talk to it: TLS verified, every statement with a timeout, errors translated.

This is the only place that opens connections, and the only one that turns a driver's error into words.
"""

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
from encryptdb.stacks.contract.errors import Failed, Problem

SideName = Literal["source", "target"]

CONNECT_SECONDS = 5
"""A server that does not answer is given up after this."""

STATEMENT_SECONDS = 60
"""What any statement of ours may take unless its caller says otherwise."""

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
        """A new autocommit connection. `settings` are server parameters for the session, sent in the startup
        packet, where no statement log sees them. Raises Failed, in words."""
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
                f"The stack names no address for the {self.side}.",
                detail=f"Its outputs say {self.side}.host: null, as in the phase retire, or when the server is gone.",
            )
        with self.translated(database):
            # A prepared statement would outlive a change of the catalog it was planned for.
            connection = self._open(database, given, prepare_threshold=None)
        lsn.register(connection)
        return connection

    def connect_replication(self, database: str, **settings: str) -> Db:
        """A new connection to a logical walsender, without a timeout of its own: a stream runs as long as it is read.

        Raises Failed where the role may not replicate, or where there is no walsender to spare.
        """
        with self.translated(database):
            try:
                return self._open(database, settings, replication="database")
            except psycopg.OperationalError as error:
                said = str(error).strip().splitlines()[-1] if str(error).strip() else ""
                if "WAL sender" in said or "walsender" in said:
                    user = self.login.user
                    hint = f"Grant it: GRANT rds_replication TO {user} (elsewhere ALTER ROLE ... REPLICATION)."
                    raise Failed(f"The role {user!r} may not read the slot.", detail=said, hint=hint) from None
                if "max_wal_senders" in said:
                    hint = "Each subscription needs one too: raise max_wal_senders, or end a sender that nobody needs."
                    message = f"The {self.side} has no walsender to spare."
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
        """The cached connection to `database`, opened if there is none that lives."""
        cached = self._cache.get(database)
        if cached is None or cached.closed or cached.broken:
            cached = self._cache[database] = self.connect(database)
        return cached

    def turns_away(self, database: str, login: Login) -> str | None:
        """Why the server does not accept this login, in its own words; None where the password is right, although the
        database may be closed to the role: a server looks at the password first. Raises Failed where it is silent."""
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
        """Run one statement on the cached connection. Raises a Problem, as all of these."""
        with self.translated(database):
            return self.db(database).execute(query, params)

    def row(self, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE) -> TupleRow | None:
        """The first row, None where there is none."""
        return self.execute(query, params, database=database).fetchone()

    def value(self, query: Query, params: Parameters = None, *, database: str = CONTROL_DATABASE) -> Any:
        """The first value of the first row, None where there is none."""
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
        """A transaction on the cached connection, which is yielded; committed when the block ends without an error."""
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
        """Backend pids of the cached connections: ours, for whoever terminates others."""
        return [c.info.backend_pid for c in self._cache.values() if not c.closed]

    @contextlib.contextmanager
    def translated(self, database: str) -> Iterator[None]:
        """Turn a driver's error inside the block into a Problem that says what it means and what to do."""
        try:
            yield
        except psycopg.Error as error:
            raise self.explain(error, database) from None

    def explain(self, error: psycopg.Error, database: str) -> Problem:
        """What a driver's error means for the person at the keyboard."""
        where = f"{self.side} {self.host}:{self.port}, database {database!r}"
        # The driver never puts the password into its messages; the first line is enough.
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        text = str(error)
        if _is_refusal(error):
            return Failed(
                f"The {self.side} refuses the login of {self.login.user!r}.",
                detail=f"{where}: {said}. The login came from {self.login.origin}.",
                hint="Check that secret or variable. A restored target has the passwords of the snapshot: if the "
                "password was rotated since, set ENCRYPTDB_TARGET_PASSWORD to the older one.",
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
                f"A statement on the {self.side} took too long and was given up.",
                detail=f"{where}: {said}. Nothing it would have done was done.",
                hint="Look for what holds the lock (pg_stat_activity, pg_locks), then run the command again.",
            )
        if isinstance(error, errors.InsufficientPrivilege):
            return Failed(
                f"The role {self.login.user!r} may not do this on the {self.side}.",
                detail=f"{where}: {said}",
                hint="Run `python -m controller preflight`: it lists every privilege that is missing.",
            )
        # ProgrammingError without a SQLSTATE is the driver's own: nothing was asked of the server at all.
        silent = error.sqlstate is None and not isinstance(error, errors.ProgrammingError)
        if silent or isinstance(error, errors.OperationalError):
            return Failed(
                f"The {self.side} does not answer.",
                detail=f"{where}: {said}",
                hint="Check that the instance is available, that the security group lets this host in, and that this "
                "host stands in (or is connected to) the database's VPC.",
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
    # A failure while connecting carries no SQLSTATE in libpq: only the server's words tell.
    refused = isinstance(error, errors.InvalidPassword | errors.InvalidAuthorizationSpecification)
    return refused or (error.sqlstate is None and "authentication failed" in str(error))


def _escape(value: str) -> str:
    """Escape one value for libpq's `options`: spaces and backslashes."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
