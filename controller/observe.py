"""What both servers say about themselves, read at one moment into frozen values. Decides nothing.

One query per kind of object and server, plus one per migrated database: the number does not grow with tables.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from psycopg import errors

from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import catalog, control, heartbeat, slots
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, REPLICATION_ROLE
from encryptdb.controller.postgres.server import Server, SideName, rows_of
from encryptdb.controller.postgres.slots import Slot
from encryptdb.controller.records import Records
from encryptdb.stacks.cloud import prepared_parameter
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Problem, Refused
from encryptdb.stacks.contract.names import Ending

NEVER_MIGRATED = ("template0", "template1", "rdsadmin", CONTROL_DATABASE)
"""Databases that belong to PostgreSQL, to RDS, or to us."""

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
    template: bool
    bytes: int


@dataclass(frozen=True)
class PreparedTransaction:
    """A transaction between PREPARE TRANSACTION and its end."""

    gid: str
    database: str
    owner: str


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

    def unlisted(self, oids: Collection[int]) -> tuple[Database, ...]:
        """Databases that would move and are not among `oids`: they were made, opened or first used since."""
        return tuple(d for d in to_migrate(self) if d.oid not in oids)


@dataclass(frozen=True)
class Observed:
    """Both servers, the prepared parameter and, where a control database is gone, the target's tag, at one moment.

    A side is None where the stack has none, or where it could not be read: then its problem says why. `ending` is None
    where the tag is not there or was not asked for; `aws_problem` says why AWS could not be asked.
    """

    at: datetime
    source: ObservedServer | None
    target: ObservedServer | None
    source_problem: Problem | None = None
    target_problem: Problem | None = None
    prepared_parameter: PreparedParameter | None = None
    ending: Ending | None = None
    aws_problem: Problem | None = None

    @property
    def sides(self) -> tuple[ObservedServer, ...]:
        return tuple(side for side in (self.source, self.target) if side is not None)

    @property
    def records(self) -> Records:
        """The records that decide: those of the side that serves. Empty where there are none."""
        deciding = self.target if self.serving == "target" else self.source
        return (deciding.records if deciding else None) or Records()

    @property
    def serving(self) -> SideName:
        """The side with the higher epoch among those that were read. `state.decide` says whether that is known."""
        source, target = self.source.records if self.source else None, self.target.records if self.target else None
        return "target" if _epoch(target) > _epoch(source) else "source"

    @property
    def read(self) -> frozenset[SideName]:
        """The sides that answered."""
        found: dict[SideName, ObservedServer | None] = {"source": self.source, "target": self.target}
        return frozenset(name for name, side in found.items() if side is not None)

    @property
    def next_epoch(self) -> int:
        """The epoch of the next OPEN."""
        return 1 + max((side.records.epoch for side in self.sides if side.records is not None), default=0)

    @property
    def migrated(self) -> tuple[Database, ...]:
        """The databases that move: recorded by `prepare`; before that, those that would."""
        server = self.source or self.target
        return self.migrated_on(server) if server is not None else ()

    def migrated_on(self, server: ObservedServer) -> tuple[Database, ...]:
        """The same, as one server has them."""
        listed = self.records.databases
        if listed is None:
            return to_migrate(server)
        wanted = {d.oid for d in listed.listed}
        return tuple(d for d in server.databases if d.oid in wanted)


def _epoch(records: Records | None) -> int:
    return records.epoch if records is not None else 0


def to_migrate(server: ObservedServer) -> tuple[Database, ...]:
    """Every database that accepts connections and is no template; `postgres` only if it has relations of its own."""
    return tuple(
        d
        for d in server.databases
        if d.allow_connections
        and not d.template
        and (d.name != "postgres" or ("postgres" in server.objects and server.objects["postgres"].has_relations))
    )


def observe(m: Migration, *, need: Collection[SideName] = (), partial: bool = False) -> Observed:
    """Read both servers and what AWS keeps. A side that does not answer is None, and its problem is kept. With
    `partial`, a privilege that the role lacks leaves out what takes it, not the side: preflight names the privilege.

    Raises the problem of a side that is in `need`.
    """
    sides: dict[SideName, ObservedServer] = {}
    problems: dict[SideName, Problem] = {}
    for server in m.sides():
        try:
            sides[server.side] = observe_server(server, partial=partial)
        except Refused:
            raise
        except Problem as problem:
            if server.side in need:
                raise
            problems[server.side] = problem
    parameter, ending, aws_problem = _in_aws(m, sides)
    return Observed(
        at=_now(m, sides),
        source=sides.get("source"),
        target=sides.get("target"),
        source_problem=problems.get("source"),
        target_problem=problems.get("target"),
        prepared_parameter=parameter,
        ending=ending,
        aws_problem=aws_problem,
    )


def _now(m: Migration, sides: Mapping[SideName, ObservedServer]) -> datetime:
    for server in m.sides():
        if server.side in sides:
            return cast(datetime, server.value("SELECT clock_timestamp()", database="postgres"))
    return datetime.now(UTC)


def _in_aws(
    m: Migration, sides: Mapping[SideName, ObservedServer]
) -> tuple[PreparedParameter | None, Ending | None, Problem | None]:
    """The prepared parameter; and the tag on the target, which matters once a control database is gone or going."""
    try:
        parameter = prepared_parameter.read(m.aws, m.outputs.stack, lenient=True)
        ended = any(s.records is None or s.records.retired or s.records.abandoned for s in sides.values())
        target = m.outputs.target
        if target is None or not (ended or not sides):
            return parameter, None, None
        found = m.engine.find(target.identifier)
        told = found.tags.get(names.STATE) if found is not None and found.resource_id == target.resource_id else None
        return parameter, Ending(told) if told in set(Ending) else None, None
    except Problem as problem:
        return None, None, problem


def observe_server(server: Server, *, partial: bool = False) -> ObservedServer:
    """Read one server. Raises Failed where it does not answer or, unless `partial`, the role lacks a privilege."""
    with server.translated("postgres"):
        main = server.db("postgres")
        settings: dict[str, str] = dict(main.execute(SETTINGS_SQL).fetchall())
        databases = tuple(rows_of(main, Database, DATABASES_SQL, [list(NEVER_MIGRATED)]))
        try:
            subscriptions = rows_of(main, Subscription, SUBSCRIPTIONS_SQL)
        except errors.InsufficientPrivilege:
            if not partial:
                raise
            subscriptions = rows_of(main, Subscription, SUBSCRIPTIONS_PLAIN_SQL)
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
