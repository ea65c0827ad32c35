"""The control database: what must be remembered, who is at work, and what happened.

`prepare` makes it on the source before the snapshot, so the restored copy has one as well. It is in no publication
and is never fenced. The source's records decide until the target's hold `open`; from then on the target's do.
CI runners are thrown away: nothing that matters is kept anywhere else.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Iterable
from importlib import resources
from typing import Any

from psycopg import errors, sql

from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.record_values import as_json, from_json
from encryptdb.controller.records import CLASSES, Record, Records
from encryptdb.stacks.contract.errors import Failed, Refused

LOCK_KEY = int.from_bytes(b"encrypt", "big")
"""Key of the advisory lock, taken in the control database."""

LOCK_HOLDER_SQL = """
-- Who holds encryptdb's lock in this database.
SELECT a.application_name, a.usename, a.client_addr::text, a.backend_start
  FROM pg_locks l
  JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = %s
"""


def exists(server: Server) -> bool:
    """Whether the server has a control database. Raises Failed where it cannot be told."""
    query = "SELECT FROM pg_database WHERE datname = %s"
    return server.row(query, [CONTROL_DATABASE], database="postgres") is not None


def create(server: Server) -> None:
    """Make the control database and its tables, where they are not there. Applications cannot connect to it."""
    name = sql.Identifier(CONTROL_DATABASE)
    with server.translated(CONTROL_DATABASE):
        if not exists(server):
            # Another controller may be making it at this very moment.
            with contextlib.suppress(errors.DuplicateDatabase):
                # From template1, as any: what a provider grants in every database, it grants there.
                server.db("postgres").execute(sql.SQL("CREATE DATABASE {}").format(name))
        server.db("postgres").execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    install(server)


def install(server: Server) -> None:
    """Make the tables and functions of control.sql in the control database. Safe to repeat."""
    with server.transaction() as connection:
        connection.execute(schema())


def schema() -> bytes:
    """The text of control.sql."""
    return resources.files(__package__).joinpath("control.sql").read_bytes()


def drop(server: Server) -> None:
    """Drop the control database, with whoever is still connected to it."""
    server.drop_cached(CONTROL_DATABASE)
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(CONTROL_DATABASE))
    server.execute(statement, database="postgres")


def parse(rows: Iterable[tuple[str, int, Any]], server: str) -> Records:
    """Build the records from rows (key, version, value). `server` is named in the error, for example `source`.

    Raises Refused for a record or a version that this version does not know, and for one that it cannot read.
    """
    found: dict[str, Any] = {}
    for key, version, value in rows:
        cls = CLASSES.get(key)
        if cls is None or version > cls.version:
            known = "this one does not have it" if cls is None else f"this one reads version {cls.version}"
            raise Refused(
                f"The control database on the {server} was written by a newer version of encryptdb.",
                detail=f"It holds the record {key!r} in version {version}; {known}.",
                hint="pip install --upgrade encryptdb",
            )
        try:
            found[key] = from_json(value, cls)
        except Exception as error:
            raise Refused(
                f"The record {key!r} in the control database on the {server} cannot be read.",
                detail=f"Its version {version} is known, but its fields are not as they should be: {error}",
                hint="Restore that row of encryptdb.record as it was: nobody but encryptdb may write there.",
            ) from None
    return Records(**found)


def records(server: Server) -> Records | None:
    """All records, or None where the server has no control database; empty where that has no tables.

    Raises Refused where a newer version of encryptdb wrote them.
    """
    if not exists(server):
        return None
    with server.translated(CONTROL_DATABASE):
        try:
            rows = server.db().execute("SELECT key, version, value FROM encryptdb.record").fetchall()
        except errors.UndefinedTable:
            return Records()
    return parse(rows, server.side)


def write(to: Server | Db, record: Record) -> None:
    """Write one record, over an older one: on a server it survives a crash once this returns, on a connection to the
    control database it belongs to the caller's transaction."""
    if isinstance(to, Server):
        with to.translated(CONTROL_DATABASE):
            write(to.db(), record)
        return
    to.execute(
        """INSERT INTO encryptdb.record (key, version, value) VALUES (%s, %s, %s::jsonb)
           ON CONFLICT (key) DO UPDATE
              SET version = excluded.version, value = excluded.value, at = clock_timestamp()""",
        [record.key, record.version, json.dumps(as_json(record))],
    )


def forget(server: Server, *kinds: type[Record]) -> None:
    """Remove these records, where they are there."""
    server.execute("DELETE FROM encryptdb.record WHERE key = ANY (%s)", [[kind.key for kind in kinds]])


def note(server: Server, event: str, **detail: Any) -> None:
    """Add a line to the journal. Never a secret."""
    server.execute(
        "INSERT INTO encryptdb.journal (who, event, detail) VALUES (%s, %s, %s::jsonb)",
        [who(), event, json.dumps(detail, default=str)],
    )


def journal(server: Server) -> list[tuple[Any, ...]]:
    """The journal: (at, who, event, detail), oldest first."""
    return server.rows(None, "SELECT at, who, event, detail FROM encryptdb.journal ORDER BY id")


def who() -> str:
    """The person or job at work, for the journal and the lock."""
    name = os.environ.get("GITHUB_ACTOR") or os.environ.get("CODEBUILD_INITIATOR") or getpass.getuser()
    return f"{name}@{socket.gethostname()}"


class Lock:
    """Only one controller at a time works on a migration: a session-level advisory lock, so that it goes with
    the controller's connection, whatever ends it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connection: Db | None = None

    def acquire(self) -> None:
        """Take the lock or raise Refused, which says who holds it."""
        connection = self.server.connect(CONTROL_DATABASE)
        with self.server.translated(CONTROL_DATABASE):
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
            if row == (True,):
                self.connection = connection
                return
            holders = connection.execute(LOCK_HOLDER_SQL, [LOCK_KEY]).fetchall()
        connection.close()
        shown = "; ".join(
            f"{name} (role {role}, from {address}, since {since:%Y-%m-%d %H:%M:%S %Z})"
            for name, role, address, since in holders
        )
        raise Refused(
            "Another controller is at work on this migration.",
            detail=f"The lock on the {self.server.side} is held by: {shown or 'a session that has just ended'}.",
            hint="Wait until it has ended. If it hangs, end its process: the lock goes with its connection.",
        )

    def check(self) -> None:
        """Raise Failed unless the lock is still ours. Called before every step."""
        if self.connection is None:
            return
        try:
            self.connection.execute("SELECT 1")
        except Exception:
            raise Failed(
                f"The controller lost its lock on the {self.server.side}.",
                detail="Its connection ended, so another controller may be at work now. This one does nothing more.",
                hint="Run the command again.",
            ) from None

    def renew(self) -> None:
        """Take the lock again where a reboot of our own ended its connection. Raises Refused as `acquire`."""
        try:
            self.check()
        except Failed:
            self.release()
            self.acquire()

    def release(self) -> None:
        """Give the lock back. Safe to call twice."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
