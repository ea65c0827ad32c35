"""Materialized views are not replicated: they are refreshed on `to` before the pause. Those whose tables changed
between the refresh and the fence are named, for their owner to refresh."""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.contract.errors import Problem

REFRESH_SECONDS = 3600.0
"""How long one refresh may take."""

LIST_SQL = """
-- In the order in which they were made: one can only be made of those that were there before.
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^pg_(toast|temp)' ORDER BY c.oid
"""

WRITTEN_SQL = """
-- For each materialized view, how much was written to the tables that it is made of, through views and partitions.
-- What a function in it reads cannot be seen.
WITH RECURSIVE uses (view, relation) AS (
    SELECT oid, oid FROM pg_class WHERE relkind = 'm' AND relispopulated
    UNION
    SELECT u.view, o.oid FROM uses u CROSS JOIN LATERAL (
        SELECT d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
         WHERE r.ev_class = u.relation AND d.refclassid = 'pg_class'::regclass
        UNION ALL
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = u.relation
    ) o (oid)
)
SELECT format('%I.%I', n.nspname, v.relname),
       sum(pg_stat_get_tuples_inserted(u.relation) + pg_stat_get_tuples_updated(u.relation)
           + pg_stat_get_tuples_deleted(u.relation))::bigint
  FROM uses u JOIN pg_class v ON v.oid = u.view JOIN pg_namespace n ON n.oid = v.relnamespace
  JOIN pg_class t ON t.oid = u.relation AND t.relkind IN ('r', 'p')
 GROUP BY 1
"""


@dataclass(frozen=True)
class Refreshed:
    """`written`: database → view → rows written to its tables on `from_` before its refresh. `failed`: those that could
    not be refreshed, `DATABASE: VIEW`."""

    written: Mapping[str, Mapping[str, int]]
    failed: tuple[str, ...]


def refresh(direction: Direction, reporter: Reporter) -> Refreshed:
    """Refresh all of `to`. A failed refresh is reported, and the view counts as stale."""
    written = direction.in_each(lambda d: _written(direction.from_, d.name))
    failed: list[str] = []
    for database in (d.name for d in direction.databases):
        for schema, view in direction.to.rows(None, LIST_SQL, database=database):
            reporter.say(f"refreshing the materialized view {schema}.{view} in {database} on the {direction.to.side}")
            try:
                with (
                    direction.to.translated(database),
                    direction.to.connect(database, statement_seconds=REFRESH_SECONDS) as connection,
                ):
                    connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, view)))
            except Problem as problem:
                reporter.say(f"could not refresh {schema}.{view}: {problem.detail or problem.message}")
                failed.append(f"{database}: {schema}.{view}")
    return Refreshed(written, tuple(failed))


def stale(direction: Direction, refreshed: Refreshed) -> tuple[str, ...]:
    """Those older than the last state of `from_`, `DATABASE: VIEW`; all of a database that cannot be read.

    After the fence: sessions have reported their writes by then (below PostgreSQL 15 perhaps not all).
    """
    found = set(refreshed.failed)
    for database, before in refreshed.written.items():
        try:
            now = _written(direction.from_, database) if before else {}
        except Problem:
            now = {}
        found |= {f"{database}: {view}" for view, count in before.items() if now.get(view) != count}
    return tuple(sorted(found))


def _written(server: Server, database: str) -> dict[str, int]:
    return dict(server.rows(None, WRITTEN_SQL, database=database))
