"""Tables: what cannot be published, applied or carried."""

from dataclasses import dataclass

from encryptdb.controller.postgres import catalog
from encryptdb.controller.preflight.check import Findings, blocks, check, database, migration, warns
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, rows
from encryptdb.controller.preflight.text import commented, ident, lines, listed, size

SLOW_FULL_BYTES = 64 << 20
"""From this size on, reading a whole table for each changed row is worth a warning."""


@dataclass(frozen=True)
class Table:
    """One table or partition that moves. `identity` is pg_class.relreplident; size in bytes.

    `usable` is whether UPDATE and DELETE can be published (a valid, immediate identity index, or FULL).
    `candidate` is a unique index that could be the identity. `unequal` are columns whose type has no equality, which
    FULL cannot compare. `writes` counts updates and deletes since the statistics were reset.
    """

    schema: str
    name: str
    oid: int
    owner: str
    owner_superuser: bool
    partitioned: bool
    partition: bool
    unlogged: bool
    extension: bool
    identity: str
    usable: bool
    keyed: bool
    generated_in_key: bool
    generated: bool
    candidate: str | None
    unequal: list[str]
    row_security: bool
    forced: bool
    missing: list[str]
    schema_usage: bool
    bytes: int
    writes: int
    signature: str

    @property
    def quoted(self) -> str:
        return ident(self.schema, self.name)

    @property
    def published(self) -> bool:
        """Partitions are published under their own identity, so their partitioned tables need none."""
        return not self.unlogged and not self.partitioned


TABLES_SQL = f"""
-- Every table that FOR ALL TABLES publishes, with unlogged ones and partitioned roots, and whether its changes can
-- be published and applied. A deferrable primary key is not immediate, and so no identity. Nothing here locks a table,
-- so sizes are those of the last VACUUM or ANALYZE.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid::bigint AS oid,
       o.rolname::text AS owner, o.rolsuper AS owner_superuser,
       c.relkind = 'p' AS partitioned, c.relispartition AS partition, c.relpersistence = 'u' AS unlogged,
       {catalog.EXTENSION} AS extension,
       c.relreplident::text AS identity,
       c.relreplident = 'f' OR key.indexrelid IS NOT NULL AS usable,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                  AND (i.indisprimary OR i.indisreplident)) AS keyed,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> ''
                  AND a.attnum = ANY ((key.indkey::int2[])[0 : key.indnkeyatts - 1])) AS generated_in_key,
       columns.generated, candidate.name AS candidate, columns.unequal,
       row_security_active(c.oid) AS row_security, c.relforcerowsecurity AS forced,
       ARRAY(SELECT p FROM unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}}'::text[]) p
              WHERE NOT has_table_privilege(c.oid, p)) AS missing,
       has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
       COALESCE(pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid), 0)::bigint AS writes,
       columns.signature
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_roles o ON o.oid = c.relowner
  LEFT JOIN LATERAL (
       SELECT i.indexrelid, i.indkey, i.indnkeyatts FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
          AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
        LIMIT 1) key ON true
  LEFT JOIN LATERAL (
       SELECT min(x.relname::text) AS name FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                             AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1])
                             AND (NOT a.attnotnull OR a.attgenerated <> ''))) candidate ON true
  CROSS JOIN LATERAL (
       SELECT COALESCE(bool_or(a.attgenerated <> ''), false) AS generated,
              COALESCE(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE base.oid IN
                ('json'::regtype, 'xml'::regtype, 'jsonpath'::regtype, 'point'::regtype, 'lseg'::regtype,
                 'path'::regtype, 'box'::regtype, 'polygon'::regtype, 'line'::regtype, 'circle'::regtype)), '{{}}')
                AS unequal,
              md5(COALESCE(string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ','
                           ORDER BY a.attname), '')) AS signature
         FROM pg_attribute a
         LEFT JOIN pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_type base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype
                                                   WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) columns
 WHERE {catalog.TABLE}
 ORDER BY 1, 2
"""
TABLES = Reading("tables", "database", rows(Table, TABLES_SQL))


@check(database, "blocks", reads=(TABLES,), sides="source", stages="until OPEN")
def replica_identity(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """Every table has a usable replica identity. Without one UPDATE and DELETE fail **on the source** once all
    tables are published: no primary key, a deferrable one, REPLICA IDENTITY NOTHING, a dropped identity index."""
    stuck = [t for t in database[TABLES] if t.published and not t.usable]
    if stuck:
        assert database.objects is not None
        yield blocks(
            f"Tables without a usable replica identity ({len(stuck)}): {listed(t.quoted for t in stuck)}.",
            "A primary key that is not deferrable, or another replica identity: "
            + (
                "the publication is there, so UPDATE and DELETE on these tables fail NOW."
                if facts.names.publication in database.objects.publications
                else "as soon as all tables are published, UPDATE and DELETE on these tables fail on the source."
            ),
            lines(identity_remedy(t, server.major) for t in stuck),
        )


def identity_remedy(table: Table, major: int) -> str:
    """The least change that gives the table an identity: an index it has, else FULL where FULL can work, else a
    column of its own."""
    name = table.quoted
    if table.candidate is not None:
        return f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {ident(table.candidate)};"
    if not table.unequal and not (major >= 18 and table.generated):
        return f"ALTER TABLE {name} REPLICA IDENTITY FULL;"
    if table.partition:
        return (
            f"-- {name} is a partition: give its partitioned table a primary key with the partition key in it "
            f"(FULL cannot be used: {_why_not_full(table)})."
        )
    index = ident(f"encryptdb_key_{table.oid}")
    return (
        f"ALTER TABLE {name} ADD COLUMN encryptdb_key bigint GENERATED ALWAYS AS IDENTITY NOT NULL; "
        f"-- rewrites the table; FULL cannot be used: {_why_not_full(table)}\n"
        f"CREATE UNIQUE INDEX {index} ON {name} (encryptdb_key);\n"
        f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {index};"
    )


def _why_not_full(table: Table) -> str:
    if table.unequal:
        # A newline in a name would end the comment.
        return "no equality for " + ", ".join(ident(c).replace("\n", " ") for c in table.unequal)
    return "it has generated columns, which are not published"


@check(database, "blocks", reads=(TABLES,), sides="source", stages="until OPEN")
def generated_identity(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No replica identity has a generated column. Generated columns are not published: up to 17 the apply stops,
    from 18 UPDATE fails on the source."""
    hit = [t for t in database[TABLES] if t.published and t.usable and t.generated_in_key]
    if hit:
        yield blocks(
            f"A generated column is part of the replica identity of {listed(t.quoted for t in hit)}.",
            "An identity without generated columns: they are not published, so the target cannot find the row "
            "(up to 17 the apply stops; from 18 UPDATE fails on the source).",
            lines(identity_remedy(t, server.major) for t in hit),
        )


@check(database, "blocks, warns", reads=(TABLES,), sides="source", stages="until OPEN")
def full_identity(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """REPLICA IDENTITY FULL works, and is affordable. It cannot work from 18 on with generated columns, nor without
    a key where columns such as `json`, `xml` or `point` have no equality. For a large table without a key each
    changed row costs a read of the whole table."""
    full = [t for t in database[TABLES] if t.published and t.identity == "f"]
    fails = [t for t in full if (server.major >= 18 and t.generated) or (t.unequal and not t.keyed)]
    if fails:
        yield blocks(
            f"REPLICA IDENTITY FULL cannot be used for {listed(t.quoted for t in fails)}: {_why_not_full(fails[0])}.",
            "Another identity: UPDATE and DELETE fail, on the source (18 with generated columns) or in the apply "
            "(columns that cannot be compared).",
            lines(
                f"ALTER TABLE {t.quoted} REPLICA IDENTITY DEFAULT;"
                if t.keyed and not t.generated_in_key
                else identity_remedy(t, server.major)
                for t in fails
            ),
        )
    slow = [t for t in full if t not in fails and not t.keyed and t.bytes >= SLOW_FULL_BYTES and t.writes]
    if slow:
        yield warns(
            "Tables with REPLICA IDENTITY FULL and no key that are updated or deleted from: "
            + listed(f"{t.quoted} ({size(t.bytes)})" for t in slow)
            + ".",
            "A key: for each changed row the target reads the whole table, so it may never catch up.",
            lines(
                f"ALTER TABLE {t.quoted} REPLICA IDENTITY USING INDEX {ident(t.candidate)};"
                if t.candidate
                else f"ALTER TABLE {t.quoted} ADD COLUMN encryptdb_key bigint GENERATED ALWAYS AS IDENTITY "
                "PRIMARY KEY; -- rewrites the table; only an index that fits the changes helps"
                for t in slow
            ),
            part="slow",
        )


@check(migration, "blocks", reads=(TABLES,), stages="from the restore to OPEN")
def same_tables(facts: Facts) -> Findings:
    """Source and target have the same tables and columns. Schema changes are not replicated: rows of a table made
    since the snapshot are skipped without an error, other differences stop the apply."""
    assert facts.source is not None and facts.target is not None
    copies = {d.oid: d for d in facts.target.moving if TABLES in d.readings}
    for found in facts.source.moving:
        if TABLES not in found.readings or found.oid not in copies:
            continue
        here, there = ({t.quoted: t.signature for t in d[TABLES]} for d in (found, copies[found.oid]))
        missing = [name for name in here if name not in there]
        differ = [n for n in here if n in there and there[n] != here[n]] + [n for n in there if n not in here]
        if missing:
            yield blocks(
                f"Made on the source after the snapshot: {listed(missing)}.",
                "The same tables on both sides: rows written to these are skipped without an error.",
                lines(f"DROP TABLE {name}; -- on the source, if it is not needed; else" for name in missing)
                + f"\n{commented(facts.new_attempt)}",
                side="target",
                database=found.name,
            )
        if differ:
            yield blocks(
                f"Changed or dropped on the source after the snapshot: {listed(differ)}.",
                "The same columns on both sides: schema changes are not replicated, and may stop the apply.",
                "-- Make the same change on the target; where rows were written since:\n"
                + commented(facts.new_attempt),
                part="differ",
                side="target",
                database=found.name,
            )


@check(database, "warns", reads=(TABLES,), sides="source", stages="until OPEN")
def unlogged_tables(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """There are no unlogged tables. They are in no snapshot and never replicated: empty on the target."""
    found = [t.quoted for t in database[TABLES] if t.unlogged and not t.partitioned]
    if found:
        yield warns(
            f"Unlogged tables: {listed(found)}.",
            "To accept that they are empty on the target: they are in no snapshot, and never replicated.",
            lines(f"ALTER TABLE {name} SET LOGGED;" for name in found),
        )
