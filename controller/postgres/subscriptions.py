"""Subscriptions: create, alter, disable and drop, without a password in any log.

The text of `CREATE SUBSCRIPTION` contains the publisher's password, and `log_statement = ddl` (or an error, or a slow
statement) would log it. So the connection string is a session setting, `encryptdb.conninfo`, sent in the startup
packet, and a `DO` block puts it into the statement inside the server. Nested statements are not logged; an error is
raised again without its context.
"""

import os

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from encryptdb.controller.postgres.login import Secret
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.postgres.server import STATEMENT_SECONDS, Db, Server, at_once
from encryptdb.controller.waiting import Clock, Reporter, SystemClock, wait_until
from encryptdb.stacks.contract.errors import Failed

GONE_SECONDS = 15.0
"""How long a worker may take to end after pg_terminate_backend."""

RIGHT_SECONDS = 10.0
"""How long a granted replication privilege may take to become effective."""

_RUN_SQL = """
-- Runs one statement about a subscription with the connection string in the place of its first %L.
DO $run$
BEGIN
    EXECUTE format({statement}, convert_from(decode(current_setting('encryptdb.conninfo'), 'hex'), 'UTF8'));
EXCEPTION WHEN OTHERS THEN
    -- The error as it was would bring the statement, password included, as its context into the log.
    RAISE EXCEPTION USING MESSAGE = SQLERRM, ERRCODE = SQLSTATE;
END
$run$
"""

WORKERS_SQL = """
-- Every worker that applies changes of one subscription: leader, parallel and table synchronisation alike.
SELECT w.pid FROM pg_subscription s JOIN pg_stat_subscription w ON w.subid = s.oid
 WHERE s.subname = %s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND w.pid IS NOT NULL
"""

FIND_SQL = """
-- One subscription of this database: is it enabled, and how far did its origin come (NULL: nowhere yet).
SELECT s.subenabled, 'pg_' || s.oid, pg_replication_origin_progress('pg_' || s.oid, true)
  FROM pg_subscription s
 WHERE s.subname = %s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def create(
    subscriber: Server,
    database: str,
    *,
    name: str,
    slot: str,
    publication: str,
    publisher: Server,
    password: Secret,
) -> None:
    """Create a disabled subscription with copy_data = false on the existing slot; or, if it exists, set its connection
    to `publisher` with the new password. The publisher is contacted. Raises Failed with its answer.
    """
    with subscriber.translated(database):
        connection = _with_conninfo(subscriber, database, publisher, password)
        with connection:
            if connection.execute(FIND_SQL, [name]).fetchone() is not None:
                statement = _format("ALTER SUBSCRIPTION {} CONNECTION", sql.Identifier(name).as_string(connection), "")
            else:
                statement = _format(
                    "CREATE SUBSCRIPTION {} CONNECTION",
                    sql.Identifier(name).as_string(connection),
                    sql.SQL(" PUBLICATION {} WITH ({})")
                    .format(sql.Identifier(publication), _options(connection, slot))
                    .as_string(connection),
                )
            _run(connection, sql.SQL(_RUN_SQL).format(statement=sql.Literal(statement)))


def _run(connection: Db, statement: sql.Composed) -> None:
    """Run the statement, retrying while the publisher rejects the role: a new grant may take a moment."""
    clock = SystemClock()
    ends = clock.monotonic() + RIGHT_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except psycopg.errors.Error as error:
            if "replication" not in str(error) or "walsender" not in str(error) or clock.monotonic() > ends:
                raise
        clock.sleep(0.1)


def _with_conninfo(subscriber: Server, database: str, publisher: Server, password: Secret) -> Db:
    conninfo = make_conninfo(
        host=publisher.host,
        port=publisher.port,
        dbname=database,
        user=REPLICATION_ROLE,
        password=password.reveal(),
        # A subscription on RDS cannot read a file with certificates, so it encrypts but does not verify.
        sslmode="disable" if os.environ.get("PGSSLMODE") == "disable" else "require",
        connect_timeout=10,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )
    settings = {"encryptdb.conninfo": conninfo.encode().hex()}
    return subscriber.connect(database, statement_seconds=STATEMENT_SECONDS, **settings)


def _format(before: str, name: str, after: str) -> str:
    """A template for the server's format(): percent signs outside the connection string are doubled."""
    return f"{before.format(name.replace('%', '%%'))} %L{after.replace('%', '%%')}"


def _options(connection: Db, slot: str) -> sql.Composable:
    options = [
        sql.SQL("connect = true"),
        sql.SQL("copy_data = false"),
        sql.SQL("create_slot = false"),
        sql.SQL("enabled = false"),
        sql.SQL("slot_name = {}").format(sql.Literal(slot)),
    ]
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if connection.info.server_version >= 160000 and row != (True,):
        # From 16 on the worker becomes each table's owner, which an owner of the subscription that is no
        # superuser may do only where it may SET ROLE to all of them.
        options.append(sql.SQL("run_as_owner = true"))
    return sql.SQL(", ").join(options)


def advance_origin(subscriber: Server, database: str, name: str, lsn: LSN) -> None:
    """Set the origin of a disabled subscription that has none yet, durably, and read it back. Raises Failed."""
    with subscriber.translated(database):
        connection = subscriber.db(database)
        row = connection.execute(FIND_SQL, [name]).fetchone()
        if row is None:
            raise Failed(f"The {subscriber.side} has no subscription {name!r} in database {database!r}.")
        enabled, origin, progress = row
        if enabled or (progress is not None and not progress.is_zero):
            raise Failed(
                f"The subscription {name!r} is {'enabled' if enabled else f'already at {progress}'}.",
                detail="The origin is set once, before a subscription has run: moving it repeats or loses rows.",
                hint="Drop the subscription and create it again, or continue from its position.",
            )
        # One text and so one round trip, because this is done while applications wait. The advance alone takes no
        # transaction id, and a commit without one flushes nothing.
        *_, found = at_once(
            connection,
            sql.SQL(
                "BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_replication_origin_advance({origin}, {lsn}); "
                "SELECT txid_current(); COMMIT; SELECT pg_replication_origin_progress({origin}, true)"
            ).format(origin=sql.Literal(origin), lsn=sql.Literal(lsn)),
        )
        if found != [(lsn,)]:
            raise Failed(
                f"The origin of {name!r} was set to {lsn}, but reads {found[0][0]}.",
                detail="The subscription is still disabled, nothing was applied.",
            )


def enable(subscriber: Server, database: str, name: str) -> None:
    """Enable the subscription."""
    subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)), database=database)


def disable(
    subscriber: Server,
    database: str,
    name: str,
    *,
    seconds: float = GONE_SECONDS,
    reporter: Reporter | None = None,
    clock: Clock | None = None,
) -> None:
    """Disable the subscription and wait for its workers to end. Raises Failed after `seconds`."""
    with subscriber.translated(database):
        connection = subscriber.db(database)
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))
        wait_until(
            lambda: True if _stopped(connection, name) else None,
            what=f"the apply worker of {name} to end",
            seconds=seconds,
            every=0.002,
            reporter=reporter or Reporter(quiet=True),
            clock=clock or SystemClock(),
        )


def _stopped(connection: Db, name: str) -> bool:
    # Below 16 an idle worker looks at its subscription only once a second; ended like this it loses
    # nothing, because what it applied is committed together with its position.
    workers = connection.execute(WORKERS_SQL, [name]).fetchall()
    for (pid,) in workers:
        try:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        except psycopg.errors.InsufficientPrivilege:
            continue
    return not workers


def drop(subscriber: Server, database: str, name: str) -> None:
    """Drop the subscription, if it exists, without its slot: the publisher is not contacted."""
    if subscriber.row(FIND_SQL, [name], database=database) is not None:
        detach(subscriber, database, name)
        subscriber.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(name)), database=database)


def detach(subscriber: Server, database: str, name: str) -> None:
    """Disable the subscription and detach it from its slot: the publisher is not contacted."""
    for change in ("DISABLE", "SET (slot_name = NONE)"):
        alter = sql.SQL("ALTER SUBSCRIPTION {} {}").format(sql.Identifier(name), sql.SQL(change))
        subscriber.execute(alter, database=database)
