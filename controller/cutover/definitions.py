"""Definitions are not replicated: where they differ, changes are lost or the apply worker stops.

A cutover needs equal tables, columns and enum labels: rows of a table that the target lacks are skipped without an
error, other differences stop the apply worker. A rollback needs all definitions that applications rely on to be equal,
because those created on the target since the cutover would be lost. Plain indexes do not count.
"""

from collections.abc import Iterator, Mapping

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import catalog
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.server import Server

TABLES_SQL = f"""
-- Every table that holds rows of its own or partitions them, with its columns; and every enum with its labels.
SELECT 'table' AS kind, format('%s.%s', n.nspname, c.relname) AS name,
       c.relkind::text || coalesce((SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                                       a.attgenerated), ', ' ORDER BY a.attname)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '') AS definition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {catalog.TABLE}
UNION ALL
SELECT 'enum', format('%s.%s', n.nspname, t.typname), string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace
 GROUP BY n.nspname, t.typname
"""

OTHERS_SQL = f"""
-- The other definitions that applications rely on. Nothing of PostgreSQL's, of ours, or that belongs to an extension
-- (whose version stands for it).
WITH own AS (
    SELECT oid, nspname FROM pg_namespace
     WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'encryptdb') AND nspname !~ '^pg_(toast|temp)'
)
SELECT 'schema' AS kind, nspname::text AS name, '' AS definition FROM own
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, format('%s.%s', own.nspname, c.relname),
       md5(pg_get_viewdef(c.oid))
  FROM pg_class c JOIN own ON own.oid = c.relnamespace
 WHERE c.relkind IN ('v', 'm') AND NOT {catalog.EXTENSION}
UNION ALL
SELECT 'function', format('%s.%s(%s)', own.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       md5(concat_ws('|', p.prokind, p.prosrc, p.probin, p.provolatile, p.prosecdef))
  FROM pg_proc p JOIN own ON own.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM pg_depend d
       WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'constraint', format('%s on %s.%s', k.conname, own.nspname, c.relname), pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN own ON own.oid = c.relnamespace
UNION ALL
SELECT 'column default', format('%s.%s.%s', own.nspname, c.relname, a.attname), pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid JOIN own ON own.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL
SELECT 'trigger', format('%s on %s.%s', t.tgname, own.nspname, c.relname), pg_get_triggerdef(t.oid) || t.tgenabled::text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN own ON own.oid = c.relnamespace WHERE NOT t.tgisinternal
UNION ALL
SELECT 'domain', format('%s.%s', own.nspname, t.typname), format_type(t.typbasetype, t.typtypmod)
  FROM pg_type t JOIN own ON own.oid = t.typnamespace WHERE t.typtype = 'd'
UNION ALL
SELECT 'extension', extname::text, extversion FROM pg_extension
"""

Definitions = Mapping[tuple[str, str], str | None]
"""(kind, name) → the definition, or a digest of it."""


def differences(direction: Direction) -> list[str]:
    """The differences, each as `DATABASE: NAME (how)`, in the order of databases and names."""
    everything = direction.name == "rollback"
    here = direction.in_each(lambda d: _read(direction.from_, d, everything))
    there = direction.in_each(lambda d: _read(direction.to, d, everything))
    return [
        f"{d.name}: {words}"
        for d in direction.databases
        for words in compare(here[d.name], there[d.name], direction.from_.side, direction.to.side)
    ]


def compare(here: Definitions, there: Definitions, side: str, other_side: str) -> Iterator[str]:
    """The differences between the definitions of two sides, as text. Pure."""
    for kind, name in sorted(here.keys() | there.keys()):
        one, other = here.get((kind, name)), there.get((kind, name))
        if one != other or ((kind, name) in here) != ((kind, name) in there):
            shown = name if kind == "table" else f"{kind} {name}"
            if (kind, name) not in there:
                yield f"{shown} (only on the {side})"
            elif (kind, name) not in here:
                yield f"{shown} (only on the {other_side})"
            else:
                yield f"{shown} ({'columns differ' if kind == 'table' else 'differs'})"


def _read(server: Server, database: Named, everything: bool) -> dict[tuple[str, str], str | None]:
    queries = (TABLES_SQL, OTHERS_SQL) if everything else (TABLES_SQL,)
    return {
        (kind, name): definition
        for query in queries
        for kind, name, definition in server.rows(None, query, database=database.name)
    }
