"""Which databases move, and what is in them besides tables that logical replication does not carry."""

from dataclasses import dataclass

from encryptdb.controller.preflight.check import (
    Findings,
    blocks,
    check,
    database,
    migration,
    ok,
    server,
    unavailable,
    warns,
)
from encryptdb.controller.preflight.checks.servers import problem_text
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, Stage, row, rows
from encryptdb.controller.preflight.text import commented, ident, lines, listed


@dataclass(frozen=True)
class Rights:
    """What the controller's role may do with one database, and whether it is set read-only by default."""

    oid: int
    owned: bool
    connect: bool
    read_only: bool


RIGHTS_SQL = """
-- ALTER DATABASE needs the privileges of the owner.
SELECT d.oid::bigint AS oid, pg_has_role(d.datdba, 'USAGE') AS owned,
       has_database_privilege(d.oid, 'CONNECT') AS connect,
       EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) c
                WHERE s.setdatabase = d.oid AND c IN ('default_transaction_read_only=on',
                                                      'default_transaction_read_only=true')) AS read_only
  FROM pg_database d
"""
RIGHTS = Reading("rights on the databases", "server", rows(Rights, RIGHTS_SQL))


@dataclass(frozen=True)
class LargeObjects:
    """How many there are, the sum of their oids, and how many of their pages were written since the statistics were
    reset."""

    count: int
    sum: int
    written: int


LARGE_OBJECTS_SQL = """
SELECT count(*)::int AS count, COALESCE(sum(oid::bigint), 0)::bigint AS sum,
       (pg_stat_get_tuples_inserted('pg_largeobject'::regclass) + pg_stat_get_tuples_updated('pg_largeobject'::regclass)
        + pg_stat_get_tuples_deleted('pg_largeobject'::regclass))::bigint AS written
  FROM pg_largeobject_metadata
"""
LARGE_OBJECTS = Reading("large objects", "database", row(LargeObjects, LARGE_OBJECTS_SQL))


@dataclass(frozen=True)
class Relation:
    """A relation whose rows do not move; `kind` is pg_class.relkind, `f` or `m`."""

    kind: str
    schema: str
    name: str


NOT_CARRIED_SQL = """
SELECT c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('f', 'm') AND c.oid >= 16384 ORDER BY 1, 2, 3
"""
NOT_CARRIED = Reading("foreign tables and materialized views", "database", rows(Relation, NOT_CARRIED_SQL))


@check(migration, "ok, warns, blocks", reads=(RIGHTS,), sides="source", stages="until OPEN")
def databases(facts: Facts) -> Findings:
    """The databases that move are known, and open. All move that accept connections; `postgres` only if it has
    relations of its own; templates and closed ones stay as the snapshot has them. One that was made after `prepare`
    would be lost; one that moves and is closed is fenced."""
    source = facts.source
    assert source is not None
    moving = {d.oid: d.name for d in source.moving}
    if not moving:
        yield blocks(
            "No database of the source moves.",
            "A database that accepts connections; postgres moves only if it has relations of its own.",
            facts.config("source", "IDENTIFIER"),
            side="source",
        )
        return
    others = [d for d in source.observed.databases if d.oid not in moving]
    yield ok(
        f"These databases move: {listed(d.name for d in source.moving)}."
        + (f" These do not: {listed(d.name for d in others)}." if others else ""),
        "One snapshot, one LSN and one cutover for all databases of the server.",
        side="source",
        part="moving",
    )
    for moved in source.moving:
        name = ident(moved.name)
        if not moved.observed.allow_connections:
            yield blocks(
                f"The database {moved.name} does not accept connections: a cutover fenced it, or someone closed it.",
                "An open database.",
                f"ALTER DATABASE {name} ALLOW_CONNECTIONS true;",
                side="source",
                part=moved.name,
            )
        if any(r.read_only for r in source[RIGHTS] if r.oid == moved.oid):
            yield warns(
                f"default_transaction_read_only is on for the database {moved.name}.",
                "To know whether another move of its writers is under way.",
                f"ALTER DATABASE {name} RESET default_transaction_read_only;",
                side="source",
                part=f"{moved.name}:read-only",
            )
    late = {d.oid for d in source.observed.unlisted(moving)} if facts.stage >= Stage.PREPARED else set()
    for other in others:
        name = ident(other.name)
        if other.oid in late:
            yield blocks(
                f"The database {other.name} is not among those that prepare recorded: it was made, opened or first "
                "used later.",
                "A slot for every database that changes: what is written to this one would be lost.",
                facts.new_attempt
                if other.name == "postgres"
                else f"DROP DATABASE {name}; -- if it is not needed; else\n{commented(facts.new_attempt)}",
                side="source",
                part=other.name,
            )
        elif other.template or not other.allow_connections:
            yield warns(
                f"The database {other.name} {'is a template' if other.template else 'does not accept connections'}: "
                "the copy has it as it is in the snapshot.",
                "No change of it until the cutover, or that it moves with the others.",
                lines(
                    [f"ALTER DATABASE {name} IS_TEMPLATE false;"] * other.template
                    + [f"ALTER DATABASE {name} ALLOW_CONNECTIONS true;"] * (not other.allow_connections)
                ),
                side="source",
                part=other.name,
            )


@check(server, "blocks for a missing privilege, else unavailable", reads=(RIGHTS,))
def readable(facts: Facts, server: ServerFacts) -> Findings:
    """Every database that moves can be read."""
    connect = {r.oid: r.connect for r in server[RIGHTS]}
    for found in server.moving:
        if found.problem is not None and not connect.get(found.oid, True):
            yield blocks(
                f"The role {server.user} may not connect to the database {found.name}.",
                "CONNECT on every database that moves: what is in this one is unknown.",
                f"GRANT CONNECT ON DATABASE {ident(found.name)} TO {ident(server.user)};",
                part=found.name,
            )
        elif found.problem is not None:
            yield unavailable(
                problem_text(found.problem),
                "Everything that the checks read: what is in this database is unknown.",
                found.problem.hint,
                part=found.name,
            )


@check(database, "warns; blocks once they differ", reads=(LARGE_OBJECTS,), stages="until OPEN")
def large_objects(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """Large objects do not change until the cutover. They are not replicated: only unchanged ones arrive, with the
    snapshot. From the restore on, both sides are compared."""
    if server.side == "target":
        return
    here = database[LARGE_OBJECTS]
    copies = facts.target.moving if facts.target is not None else ()
    there = next((c[LARGE_OBJECTS] for c in copies if c.oid == database.oid and LARGE_OBJECTS in c.readings), here)
    differ = (here.count, here.sum) != (there.count, there.sum)
    if here.count or differ:
        yield (blocks if differ else warns)(
            f"{here.count} large objects"
            + (f", of which the copy has {there.count}." if differ else ".")
            + f" {here.written} of their pages were written since the statistics were reset.",
            "No change of a large object between the snapshot and the cutover: it would not arrive.",
            "SELECT oid, lomowner::regrole FROM pg_largeobject_metadata; -- move them into bytea columns, or stop what "
            "writes them" + (f"; then\n{commented(facts.new_attempt)}" if differ else ""),
        )


@check(database, "warns", reads=(NOT_CARRIED,), sides="source", stages="until OPEN")
def materialized_views(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """There are no materialized views. They show the time of the snapshot until they are refreshed."""
    found = [ident(r.schema, r.name) for r in database[NOT_CARRIED] if r.kind == "m"]
    if found:
        yield warns(
            f"Materialized views: {listed(found)}.",
            "A refresh on the target after the cutover: until then they show the time of the snapshot.",
            lines(f"REFRESH MATERIALIZED VIEW {name};" for name in found),
        )


@check(database, "warns", reads=(NOT_CARRIED,), sides="source", stages="until OPEN")
def foreign_tables(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """There are no foreign tables. The target needs access to the servers behind them."""
    found = [ident(r.schema, r.name) for r in database[NOT_CARRIED] if r.kind == "f"]
    if found:
        yield warns(
            f"Foreign tables: {listed(found)}.",
            "Access from the target to the servers behind them: their rows do not move.",
            lines(f"SELECT FROM {name} LIMIT 1; -- on the target" for name in found),
        )
