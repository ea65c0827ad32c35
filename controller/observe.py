"""What both servers say about themselves, read at one moment into frozen values. Decides nothing.

One query per kind of object and server, plus one per migrated database: the number does not grow with tables.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import errors
from psycopg.rows import class_row

from encryptdb.controller import epoch
from encryptdb.controller import prepared_parameter as ssm
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, REPLICATION_ROLE
from encryptdb.controller.postgres.server import Server, SideName
from encryptdb.controller.prepared_parameter import PreparedParameter
from encryptdb.controller.records import Records
from encryptdb.stacks.contract.errors import Problem, Refused

NEVER_MIGRATED = ("template0", "template1", "rdsadmin", CONTROL_DATABASE)
"""Databases that belong to PostgreSQL, to RDS, or to us."""

SETTINGS_SQL = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('server_version_num', 'wal_level', 'track_commit_timestamp', 'max_replication_slots',
                'max_wal_senders', 'max_worker_processes', 'max_logical_replication_workers',
                'max_slot_wal_keep_size', 'rds.logical_replication', 'wal_segment_size')
"""

DATABASES_SQL = """
SELECT oid::bigint AS oid, datname AS name, pg_get_userbyid(datdba) AS owner, datallowconn AS allow_connections,
       pg_database_size(oid)::bigint AS bytes
  FROM pg_database WHERE NOT datistemplate AND datname <> ALL (%s) ORDER BY oid
"""

SLOTS_SQL = """
SELECT slot_name AS name, database, plugin, active, active_pid, confirmed_flush_lsn, restart_lsn, wal_status,
       safe_wal_size::bigint AS safe_wal_bytes
  FROM pg_replication_slots WHERE NOT temporary
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

CLUSTER_SQL = """
SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s) AS replication_role,
       (SELECT array_agg(gid || ' in ' || database || ' by ' || owner) FROM pg_prepared_xacts) AS prepared_transactions
"""

POSITION_SQL = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
"""

DATABASE_OBJECTS_SQL = """
SELECT (SELECT array_agg(pubname::text) FROM pg_publication) AS publications,
       to_regclass('encryptdb.heartbeat') IS NOT NULL AS heartbeat,
       EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'm', 'S', 'f') AND n.nspname <> 'encryptdb'
                  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')) AS has_relations
"""


@dataclass(frozen=True)
class Database:
    """One database as pg_database has it; size in bytes."""

    oid: int
    name: str
    owner: str
    allow_connections: bool
    bytes: int


@dataclass(frozen=True)
class Slot:
    """One replication slot that is not temporary."""

    name: str
    database: str | None
    plugin: str | None
    active: bool
    active_pid: int | None
    confirmed_flush_lsn: LSN | None
    restart_lsn: LSN | None
    wal_status: str | None
    safe_wal_bytes: int | None


@dataclass(frozen=True)
class Subscription:
    """One subscription of any database of the server, with its origin's progress and its apply worker."""

    name: str
    database: str
    enabled: bool
    slot: str | None
    origin: str
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
    not tell (Aurora, while wal_level is below logical)."""

    settings: dict[str, str]
    databases: tuple[Database, ...]
    slots: dict[str, Slot]
    subscriptions: dict[str, Subscription]
    records: Records | None
    current_lsn: LSN | None
    replication_role: bool
    prepared_transactions: tuple[str, ...]
    objects: dict[str, DatabaseObjects] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Observed:
    """Both servers at one moment. `target` is None where the stack has none; `source` is None only where it could
    not be reached and the target's records say that the target was opened (then it is not needed to decide)."""

    at: datetime
    source: ObservedServer | None
    target: ObservedServer | None
    source_problem: Problem | None = None
    prepared_parameter: PreparedParameter | None = None

    @property
    def records(self) -> Records:
        """The records that decide: those of the side that serves (`controller.epoch`)."""
        deciding = self.target if self.serving == "target" else self.source
        return (deciding.records if deciding else None) or Records()

    @property
    def serving(self) -> SideName:
        """The side that serves, by the records of both."""
        source, target = self.source.records if self.source else None, self.target.records if self.target else None
        return epoch.serving(source, target)

    @property
    def migrated(self) -> tuple[Database, ...]:
        """The databases that move: recorded by `prepare`; before that, those that would."""
        recorded = self.records.databases
        server = self.source or self.target
        assert server is not None
        if recorded is not None:
            wanted = {d.oid for d in recorded.listed}
            return tuple(d for d in server.databases if d.oid in wanted)
        return to_migrate(server)


def to_migrate(server: ObservedServer) -> tuple[Database, ...]:
    """Every database that accepts connections; `postgres` only if something of the owner's is in it."""
    return tuple(
        d
        for d in server.databases
        if d.allow_connections and (d.name != "postgres" or server.objects["postgres"].has_relations)
    )


def observe(m: Migration, *, with_parameter: bool = False) -> Observed:
    """Read both servers, and the prepared parameter in SSM where it is asked for.

    Raises Failed where one does not answer, but for a source that is no longer needed.
    """
    target = observe_server(m.target) if m.target is not None else None
    source: ObservedServer | None = None
    problem: Problem | None = None
    try:
        source = observe_server(m.source)
    except Refused:
        raise
    except Problem as error:
        # In the phase `retire` the stack no longer reads the source, so it names no address.
        needed = m.outputs.source.host is not None or m.target is None
        if needed and (target is None or epoch.epoch(target.records) == 0):
            raise
        problem = error
    asked = m.source if source is not None or m.target is None else m.target
    now = asked.db("postgres").execute("SELECT clock_timestamp()").fetchone()
    assert now is not None
    return Observed(now[0], source, target, problem, ssm.read(m) if with_parameter else None)


def observe_server(server: Server) -> ObservedServer:
    """Read one server. Raises Failed where it does not answer."""
    with server.translated("postgres"):
        main = server.db("postgres")
        settings: dict[str, str] = dict(main.execute(SETTINGS_SQL).fetchall())
        with main.cursor(row_factory=class_row(Database)) as cursor:
            databases = tuple(cursor.execute(DATABASES_SQL, [list(NEVER_MIGRATED)]).fetchall())
        with main.cursor(row_factory=class_row(Slot)) as cursor:
            slots = {s.name: s for s in cursor.execute(SLOTS_SQL).fetchall()}
        with main.cursor(row_factory=class_row(Subscription)) as cursor:
            subscriptions = {s.name: s for s in cursor.execute(SUBSCRIPTIONS_SQL).fetchall()}
        cluster = main.execute(CLUSTER_SQL, [REPLICATION_ROLE]).fetchone()
        assert cluster is not None
        try:
            position = main.execute(POSITION_SQL).fetchone()
        except (errors.FeatureNotSupported, errors.ObjectNotInPrerequisiteState):
            position = None
    objects = {d.name: found for d in databases if (found := _objects(server, d)) is not None}
    return ObservedServer(
        settings=settings,
        databases=databases,
        slots=slots,
        subscriptions=subscriptions,
        records=control.records(server),
        replication_role=cluster[0],
        prepared_transactions=tuple(cluster[1] or ()),
        current_lsn=position[0] if position else None,
        objects=objects,
    )


def _objects(server: Server, database: Database) -> DatabaseObjects | None:
    """None where the database takes no connections: it is fenced."""
    if not database.allow_connections:
        return None
    with server.translated(database.name):
        row: tuple[Any, ...] | None = None
        for _ in range(2):
            try:
                row = server.db(database.name).execute(DATABASE_OBJECTS_SQL).fetchone()
                break
            except errors.OperationalError:
                # A fence or a reboot ended the cached connection; a second failure is the world's.
                server.drop_cached(database.name)
        else:
            row = server.db(database.name).execute(DATABASE_OBJECTS_SQL).fetchone()
    assert row is not None
    return DatabaseObjects(tuple(row[0] or ()), row[1], row[2])
