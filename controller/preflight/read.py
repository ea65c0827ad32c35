"""Read what the checks declare beyond the snapshot: both servers, their databases and AWS side by side, so that one
that does not answer costs only its own time-out and leaves the others to be read."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import Database, ObservedServer
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, Stage
from encryptdb.stacks.contract.errors import Problem

Reads = Collection[Reading[Any]]


def read(m: Migration, observed: Observed, stage: Stage, reads: Mapping[str, Reads]) -> Facts:
    """Read all that is in `reads`: by side, the readings of that server and its databases; under `migration`, the rest.

    Raises nothing for a server or AWS that does not answer: `Facts.unavailable` has the reason.
    """
    unavailable: dict[str, Problem] = {}
    pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="preflight")
    try:
        servers = {}
        sides: list[tuple[Server | None, ObservedServer | None, Problem | None]] = [
            (m.source, observed.source, observed.source_problem),
            (m.target, observed.target, observed.target_problem),
        ]
        for server, found, problem in sides:
            if server is not None and found is not None:
                moving = observed.migrated_on(found)
                servers[server.side] = pool.submit(read_server, server, found, moving, reads.get(server.side, ()))
            elif server is not None and problem is not None:
                unavailable[server.side] = problem
        jobs = {r: pool.submit(r.read, m) for r in reads.get("migration", ())}
        readings = {}
        for reading, job in jobs.items():
            try:
                readings[reading] = job.result()
            except Problem as problem:
                unavailable.setdefault(reading.origin, problem)
        return Facts(
            m.outputs,
            m.names,
            stage,
            servers["source"].result() if "source" in servers else None,
            servers["target"].result() if "target" in servers else None,
            unavailable,
            readings=readings,
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_server(server: Server, observed: ObservedServer, moving: Iterable[Database], reads: Reads) -> ServerFacts:
    """Read one server and its moving databases, each on a connection of its own, so that whoever fences a database
    later finds none left."""
    readings, problem = _on(server, "postgres", [r for r in reads if r.per == "server"])
    inside = [r for r in reads if r.per == "database"]
    databases = []
    for database in moving:
        found: tuple[dict[Reading[Any], Any], Problem | None] = ({}, None)
        if database.allow_connections:
            found = _on(server, database.name, inside)
        databases.append(
            DatabaseFacts(database, observed.objects.get(database.name), readings=found[0], problem=found[1])
        )
    user = server.login.user
    return ServerFacts(server.side, user, observed, tuple(databases), readings=readings, problem=problem)


def _on(server: Server, database: str, reads: Reads) -> tuple[dict[Reading[Any], Any], Problem | None]:
    readings: dict[Reading[Any], Any] = {}
    problem: Problem | None = None
    try:
        with server.connect(database) as connection:
            for reading in reads:
                try:
                    readings[reading] = reading.read(connection)
                except psycopg.Error as error:
                    problem = problem or server.explain(error, database)
                    if connection.closed:
                        break
    except Problem as refused:
        problem = problem or refused
    return readings, problem


def optional(connection: Db, query: str) -> Any:
    """The one value of a query, or None where this server has no such function, relation or figure."""
    try:
        row = connection.execute(query.encode()).fetchone()
    except (
        psycopg.errors.FeatureNotSupported,
        psycopg.errors.ObjectNotInPrerequisiteState,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.UndefinedTable,
    ):
        return None
    return row[0] if row else None
