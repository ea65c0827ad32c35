"""Reads everything that preflight decides on: both servers and AWS side by side, so that one that is silent costs
its own time-out only, and hides nothing of the others."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from psycopg import errors
from psycopg.rows import class_row, dict_row

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import DATABASE_OBJECTS_SQL, NEVER_MIGRATED
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.preflight import queries
from encryptdb.controller.preflight.cloud import read_cloud
from encryptdb.controller.preflight.contents import Contents, Database, Table, Thing
from encryptdb.controller.preflight.facts import (
    Counts,
    Facts,
    Prepared,
    Role,
    ServerFacts,
    Session,
    Silence,
    Slot,
    Stage,
    Subscription,
    Wal,
)
from encryptdb.controller.preflight.probes import database_probes, server_probes
from encryptdb.controller.records import Records
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import Failed, Problem
from encryptdb.stacks.contract.outputs import Outputs

T = TypeVar("T")

SAMPLE_SECONDS = 1.0
"""Over at least this long the WAL rate is measured; reading the rest happens meanwhile."""


def read(m: Migration) -> Facts:
    """Read both servers and AWS. Never raises for one of them: its silence is a fact."""
    pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="preflight")
    try:
        pattern = m.names.publication.replace("_", r"\_") + r"\_%"
        jobs: dict[str, Future[Any]] = {"source": pool.submit(read_server, m.source, pattern, m.clock)}
        if m.target is not None:
            jobs["target"] = pool.submit(read_server, m.target, pattern, m.clock)
        jobs["aws"] = pool.submit(read_cloud, m.engine, m.outputs)
        answers: dict[str, Any] = {}
        silent: list[Silence] = []
        for side, job in jobs.items():
            answers[side], problem = _settle(job.result)
            if problem is not None:
                silent.append(Silence(side, problem))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    source, target = answers["source"], answers.get("target")
    return Facts(
        outputs=m.outputs,
        names=m.names,
        stage=stage(source, target, m.outputs),
        source=source,
        target=target,
        cloud=answers["aws"],
        silent=tuple(silent),
    )


def stage(source: ServerFacts | None, target: ServerFacts | None, outputs: Outputs) -> Stage:
    """How far the migration is: the target's records decide once they hold `open`, then the stack's outputs, then
    what `prepare` wrote last on the source."""
    if outputs.phase == "retire" or (target is not None and target.records is not None and target.records.open):
        return Stage.OPEN
    if source is not None and target is not None and source.records is None:
        # Taken down: on both sides by `retire`, on the source alone by `abandon`.
        return Stage.OPEN if target.records is None else Stage.UNPREPARED
    if outputs.target is not None:
        return Stage.RESTORED
    if source is not None and source.records is not None and source.records.prepared:
        return Stage.PREPARED
    return Stage.UNPREPARED


def read_server(server: Server, ours: str, clock: Clock) -> ServerFacts:
    """One server. `ours` is the LIKE pattern of our replication objects' names. Raises a Problem where the server
    does not answer; a database of it that does not is kept in that database's `problem`."""
    if not server.host:
        # Without a host libpq would take a local socket.
        raise Failed(
            f"The stack's outputs name no host of the {server.side}.",
            detail="It was not there, or not yet available, when they were written.",
            hint="pulumi up, when the instance is available.",
        )
    with server.translated("postgres"):
        main = server.db("postgres")
        began = _unless_missing(main, queries.POSITION_SQL)
        settings: dict[str, str] = dict(main.execute(queries.SETTINGS_SQL, [list(queries.SETTINGS)]).fetchall())
        role = _all(main, Role, queries.ROLE_SQL)[0]
        (in_recovery,) = _row(main, queries.RECOVERY_SQL)
        aurora = _unless_missing(main, queries.AURORA_SQL) is not None
        databases = _all(main, Database, queries.DATABASES_SQL, [list(NEVER_MIGRATED)])
        average = _unless_missing(main, queries.WAL_AVERAGE_SQL)
        facts = ServerFacts(
            side=server.side,
            settings=settings,
            role=role,
            in_recovery=in_recovery,
            engine="aurora-postgresql" if aurora else "postgres",
            databases=databases,
            slots=_all(main, Slot, queries.SLOTS_SQL),
            subscriptions=_all(main, Subscription, queries.SUBSCRIPTIONS_SQL),
            prepared=_all(main, Prepared, queries.PREPARED_SQL),
            writers=_all(main, Session, queries.WRITERS_SQL),
            role_users=_all(main, Session, queries.ROLE_USERS_SQL, [list(NEVER_MIGRATED)]),
            counts=_all(main, Counts, queries.COUNTS_SQL, [ours])[0],
            wal=Wal(None, average[0] if average else None),
            probes={} if in_recovery else server_probes(main, role),
            records=control.records(server),
        )
    recorded = facts.records.databases if facts.records else None
    listed = {d.oid for d in recorded.listed} if recorded else None
    facts = replace(
        facts,
        databases=tuple(_read_database(server, d, listed, in_recovery) for d in databases),
        foreign_control=facts.records == Records() and _has_relations(server, CONTROL_DATABASE),
    )
    if began is None:
        return facts
    with server.translated("postgres"):
        ended = _row(main, queries.POSITION_SQL)
        if ended[1] - began[1] < SAMPLE_SECONDS:
            clock.sleep(SAMPLE_SECONDS - (ended[1] - began[1]))
            ended = _row(main, queries.POSITION_SQL)
    return replace(facts, wal=replace(facts.wal, measured=(ended[0] - began[0]) / max(ended[1] - began[1], 0.001)))


def _read_database(server: Server, database: Database, listed: set[int] | None, in_recovery: bool) -> Database:
    """Decide whether the database moves (recorded by `prepare`; before that as `observe.to_migrate` has it), and
    read it if it does."""
    try:
        if listed is not None:
            moves = database.oid in listed
        else:
            moves = database.allow_connections and not database.template
            if moves and database.name == "postgres":
                moves = _has_relations(server, "postgres")
        if not moves or not database.allow_connections:
            return replace(database, moves=moves)
        return replace(database, moves=True, contents=_read_contents(server, database.name, in_recovery))
    except Problem as problem:
        return replace(database, moves=True, problem=problem)


def _has_relations(server: Server, database: str) -> bool:
    with server.translated(database):
        return bool(_row(server.db(database), DATABASE_OBJECTS_SQL)[2])


def _read_contents(server: Server, database: str, in_recovery: bool) -> Contents:
    """What is in one database. A connection of its own, so that whoever fences the database later finds none left."""
    with server.connect(database) as connection, server.translated(database):
        with connection.cursor(row_factory=dict_row) as cursor:
            summary = cursor.execute(queries.SUMMARY_SQL).fetchone()
        assert summary is not None
        cron = _row(connection, queries.CRON_SQL)[0] if summary.pop("cron") else None
        publications = tuple(summary.pop("publications"))
        return Contents(
            tables=tuple(
                replace(t, unequal=tuple(t.unequal), missing=tuple(t.missing))
                for t in _all(connection, Table, queries.TABLES_SQL)
            ),
            things=_all(connection, Thing, queries.THINGS_SQL),
            publications=publications,
            cron_jobs=cron,
            probes={} if in_recovery else database_probes(connection),
            **summary,
        )


def _all(connection: Db, kind: type[T], query: str, parameters: list[Any] | None = None) -> tuple[T, ...]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return tuple(cursor.execute(query.encode(), parameters).fetchall())


def _row(connection: Db, query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def _unless_missing(connection: Db, query: str) -> tuple[Any, ...] | None:
    """The row, or None where this server has no such function, relation or figure."""
    try:
        return _row(connection, query)
    except (
        errors.FeatureNotSupported,
        errors.ObjectNotInPrerequisiteState,
        errors.UndefinedFunction,
        errors.UndefinedTable,
    ):
        return None


def _settle(result: Callable[[], T]) -> tuple[T | None, Problem | None]:
    try:
        return result(), None
    except Problem as problem:
        return None, problem
