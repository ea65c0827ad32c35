"""The control database: records, lock and journal.

`prepare` creates it on the source before the snapshot, so the restored copy has it too. It is never published or
fenced. The source's records decide until the target's hold `open`, then the target's. CI runners are ephemeral: no
state is kept anywhere else.
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
from encryptdb.stacks.contract.errors import AGAIN, Failed, Refused

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
    """Whether the server has a control database. Raises Failed."""
    query = "SELECT FROM pg_database WHERE datname = %s"
    return server.row(query, [CONTROL_DATABASE], database="postgres") is not None


def create(server: Server) -> None:
    """Create the control database and its tables if missing. Applications cannot connect to it."""
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
    """Create the tables and functions of control.sql. Safe to repeat."""
    with server.transaction() as connection:
        connection.execute(schema())


def schema() -> bytes:
    """The text of control.sql."""
    return resources.files(__package__).joinpath("control.sql").read_bytes()


def drop(server: Server) -> None:
    """Drop the control database, ending its sessions."""
    server.drop_cached(CONTROL_DATABASE)
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(CONTROL_DATABASE))
    server.execute(statement, database="postgres")


def parse(rows: Iterable[tuple[str, int, Any]], server: str) -> Records:
    """The records from rows (key, version, value). `server` is for the error, for example `source`.

    Raises Refused for an unknown record or version, and for an invalid one.
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
                detail=f"Its version {version} is known, but its fields are invalid: {error}",
                hint="Restore that row of encryptdb.record; only encryptdb may write to it.",
            ) from None
    return Records(**found)


def records(server: Server) -> Records | None:
    """All records; None without a control database, empty if that has no tables. Raises Refused as `parse`."""
    if not exists(server):
        return None
    with server.translated(CONTROL_DATABASE):
        try:
            rows = server.db().execute("SELECT key, version, value FROM encryptdb.record").fetchall()
        except errors.UndefinedTable:
            return Records()
    return parse(rows, server.side)


def write(to: Server | Db, record: Record) -> None:
    """Upsert one record: durable once this returns, or, given a connection, in the caller's transaction."""
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
    """Delete these records, if they exist."""
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
    """The user or job, for the journal and the lock."""
    name = os.environ.get("GITHUB_ACTOR") or os.environ.get("CODEBUILD_INITIATOR") or getpass.getuser()
    return f"{name}@{socket.gethostname()}"


class Lock:
    """A session-level advisory lock: one controller at a time works on a migration."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connection: Db | None = None

    def acquire(self) -> None:
        """Take the lock. Raises Refused, naming its holder."""
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
            "Another controller is working on this migration.",
            detail=f"The lock on the {self.server.side} is held by: {shown or 'a session that has just ended'}.",
            hint=f"When it has ended: {AGAIN} (if it hangs, end its process)",
        )

    def check(self) -> None:
        """Raise Failed if the lock was lost. Called before every step."""
        if self.connection is None:
            return
        try:
            self.connection.execute("SELECT 1")
        except Exception:
            raise Failed(
                f"The controller lost its lock on the {self.server.side}.",
                detail="Its connection ended, so another controller may be working now. This one has stopped.",
                hint=AGAIN,
            ) from None

    def renew(self) -> None:
        """Take the lock again after a reboot. Raises Refused as `acquire`."""
        try:
            self.check()
        except Failed:
            self.release()
            self.acquire()

    def release(self) -> None:
        """Release the lock. Safe to repeat."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
