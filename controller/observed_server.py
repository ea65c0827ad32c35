"""What one server says about itself, read at one moment into frozen values. Decides nothing.

One query per kind of object and server, plus one per migrated database: the number does not grow with tables.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import errors

from encryptdb.controller.postgres import catalog, control, heartbeat, slots
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, REPLICATION_ROLE
from encryptdb.controller.postgres.server import Db, Server, rows_of
from encryptdb.controller.postgres.slots import Slot
from encryptdb.controller.records import Records
from encryptdb.stacks.contract.errors import Problem

NEVER_MIGRATED = ("template0", "template1", "rdsadmin", CONTROL_DATABASE)
"""Databases that belong to PostgreSQL, to RDS, or to us."""

WORKER_SECONDS = 1.0
"""How long an enabled subscription may be without an apply worker before that is told. The launcher starts a new worker
at once, one that ended with an error only after wal_retrieve_retry_interval."""

SETTINGS_SQL = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('server_version_num', 'wal_level', 'track_commit_timestamp', 'max_replication_slots',
                'max_active_replication_origins', 'max_wal_senders', 'max_worker_processes',
                'max_logical_replication_workers', 'max_slot_wal_keep_size', 'rds.logical_replication',
                'wal_segment_size', 'max_prepared_transactions', 'max_connections', 'superuser_reserved_connections',
                'shared_preload_libraries', 'log_statement', 'log_min_duration_statement', 'ssl',
                'pg_partman_bgw.dbname')
"""

DATABASES_SQL = """
SELECT oid::bigint AS oid, datname AS name, pg_get_userbyid(datdba) AS owner, datallowconn AS allow_connections,
       datistemplate AS template,
       CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(oid) ELSE 0 END::bigint AS bytes
  FROM pg_database WHERE datname <> ALL (%s) ORDER BY oid
"""

SUBSCRIPTIONS_SQL = """
SELECT s.subname AS name, d.datname AS database, s.subenabled AS enabled, s.subslotname AS slot,
       'pg_' || s.oid AS origin, pg_replication_origin_progress('pg_' || s.oid, true) AS origin_lsn,
       w.pid AS worker_pid, w.received_lsn, w.latest_end_lsn
  FROM pg_subscription s
  JOIN pg_database d ON d.oid = s.subdbid
  LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL
 WHERE EXISTS (SELECT 1 FROM pg_replication_origin o WHERE o.roname = 'pg_' || s.oid)
"""

SUBSCRIPTIONS_PLAIN_SQL = """
-- What every role may read: not the origins, which take EXECUTE on pg_replication_origin_progress.
SELECT s.subname AS name, d.datname AS database, s.subenabled AS enabled, s.subslotname AS slot, NULL AS origin,
       NULL::pg_lsn AS origin_lsn, NULL::int AS worker_pid, NULL::pg_lsn AS received_lsn, NULL::pg_lsn AS latest_end_lsn
  FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
"""

REPLICATION_ROLE_SQL = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s)"

PREPARED_SQL = "SELECT gid, database::text, owner::text FROM pg_prepared_xacts ORDER BY prepared"

POSITION_SQL = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
"""

DATABASE_OBJECTS_SQL = f"""
SELECT (SELECT array_agg(pubname::text) FROM pg_publication) AS publications,
       {heartbeat.EXISTS} AS heartbeat,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE {catalog.APPLICATIONS}) AS has_relations
"""


@dataclass(frozen=True)
class Database:
    """One database as pg_database has it; size in bytes, 0 where the role may not read it."""

    oid: int
    name: str
    owner: str
    allow_connections: bool
    bytes: int
    template: bool = False


@dataclass(frozen=True)
class PreparedTransaction:
    """A transaction between PREPARE TRANSACTION and its end."""

    gid: str
    database: str
    owner: str

    def __str__(self) -> str:
        return f"{self.gid!r} of {self.owner} in {self.database}"


@dataclass(frozen=True)
class Subscription:
    """One subscription of any database of the server, with its origin's progress and its apply worker."""

    name: str
    database: str
    enabled: bool
    slot: str | None
    origin: str | None
    origin_lsn: LSN | None
    worker_pid: int | None
    received_lsn: LSN | None
    latest_end_lsn: LSN | None


@dataclass(frozen=True)
class DatabaseObjects:
    """What of ours (and whether anything of the owner's) is in one database."""

    publications: tuple[str, ...]
    heartbeat: bool
    has_relations: bool


@dataclass(frozen=True)
class ObservedServer:
    """One server, observed. `records` is None where there is no control database; `current_lsn` where the server does
    not tell (Aurora, while wal_level is below logical). `foreign_control`: the database of the
    control database's name is not ours."""

    settings: dict[str, str]
    databases: tuple[Database, ...]
    slots: dict[str, Slot]
    subscriptions: dict[str, Subscription]
    records: Records | None
    current_lsn: LSN | None
    replication_role: bool
    prepared_transactions: tuple[PreparedTransaction, ...]
    objects: dict[str, DatabaseObjects] = field(default_factory=dict)
    foreign_control: bool = False

    @property
    def version(self) -> int:
        """server_version_num, e.g. 150018."""
        return int(self.settings["server_version_num"])

    @property
    def logical(self) -> bool:
        """Whether logical decoding is possible and commit timestamps are kept."""
        return self.settings["wal_level"] == "logical" and self.settings["track_commit_timestamp"] == "on"

    def database(self, name: str) -> Database | None:
        return next((d for d in self.databases if d.name == name), None)

    def slot_lost(self, name: str) -> bool:
        """Whether a slot is missing or invalidated: the changes it kept are gone."""
        return name not in self.slots or self.slots[name].wal_status == "lost"

    def unlisted(self, listed: Mapping[int, str]) -> tuple[Database, ...]:
        """Databases that would move and are not in `listed` (oid → name): made, opened, first used or renamed since."""
        return tuple(d for d in to_migrate(self) if listed.get(d.oid) != d.name)


def to_migrate(server: ObservedServer) -> tuple[Database, ...]:
    """Every database that accepts connections and is no template; `postgres` only if it has relations of its own."""
    return tuple(
        d
        for d in server.databases
        if d.allow_connections
        and not d.template
        and (d.name != "postgres" or ("postgres" in server.objects and server.objects["postgres"].has_relations))
    )


def observe_server(server: Server, *, partial: bool = False) -> ObservedServer:
    """Read one server. Raises Failed where it does not answer or, unless `partial`, the role lacks a privilege."""
    with server.translated("postgres"):
        main = server.db("postgres")
        settings: dict[str, str] = dict(main.execute(SETTINGS_SQL).fetchall())
        databases = tuple(rows_of(main, Database, DATABASES_SQL, [list(NEVER_MIGRATED)]))
        subscriptions = _subscriptions(main, partial)
        prepared = tuple(rows_of(main, PreparedTransaction, PREPARED_SQL))
        role = main.execute(REPLICATION_ROLE_SQL, [REPLICATION_ROLE]).fetchone()
        assert role is not None
        try:
            position = main.execute(POSITION_SQL).fetchone()
        except (errors.FeatureNotSupported, errors.ObjectNotInPrerequisiteState):
            position = None
    objects: dict[str, DatabaseObjects] = {}
    for database in databases:
        try:
            found = _objects(server, database)
        except Problem:
            if not partial:
                raise
            continue
        if found is not None:
            objects[database.name] = found
    records = control.records(server)
    return ObservedServer(
        settings=settings,
        databases=databases,
        slots=slots.read(server),
        subscriptions={s.name: s for s in subscriptions},
        records=records,
        replication_role=role[0],
        prepared_transactions=prepared,
        current_lsn=position[0] if position else None,
        objects=objects,
        foreign_control=records == Records() and _has_relations(server),
    )


def _subscriptions(main: Db, partial: bool) -> list[Subscription]:
    """All subscriptions. An apply worker that was only just started, or restarts, is given WORKER_SECONDS to appear."""
    deadline = time.monotonic() + WORKER_SECONDS
    while True:
        try:
            found = rows_of(main, Subscription, SUBSCRIPTIONS_SQL)
        except errors.InsufficientPrivilege:
            if not partial:
                raise
            return rows_of(main, Subscription, SUBSCRIPTIONS_PLAIN_SQL)
        if all(s.worker_pid for s in found if s.enabled) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _has_relations(server: Server) -> bool:
    """Whether the database of the control database's name has relations that are not ours."""
    row = server.row(DATABASE_OBJECTS_SQL)
    return row is not None and bool(row[2])


def _objects(server: Server, database: Database) -> DatabaseObjects | None:
    """None where the database takes no connections (it is fenced), or is a template, which cannot be copied while
    someone is connected."""
    if not database.allow_connections or database.template:
        return None
    with server.translated(database.name):
        try:
            row = server.db(database.name).execute(DATABASE_OBJECTS_SQL).fetchone()
        except errors.OperationalError:
            # A fence or a reboot ended the cached connection; a second failure is the world's.
            server.drop_cached(database.name)
            row = server.db(database.name).execute(DATABASE_OBJECTS_SQL).fetchone()
    assert row is not None
    return DatabaseObjects(tuple(row[0] or ()), row[1], row[2])
