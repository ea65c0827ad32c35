"""Are two databases equal, table by table, to the row, although the second one has been in use since?

The fenced source stands still, or takes nothing but the target's changes where a rollback path is kept. The target went
on from there. A row of the target that its applications wrote since the opening says so: the commit timestamp of its
xmin is later than the subscription's start and has no replication origin. Such rows are set aside by key on both sides,
and on the source what came back with an origin; everything else must be equal.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from demo.postgres import Connection, one

# Ordinary tables and leaf partitions, with the columns of the primary key. Extensions' and our own schemas are not the
# application's data. Materialized views are not replicated; the cutover refreshes
# them before its pause, and names those that went stale in it.
_TABLES = """
SELECT n.nspname, c.relname,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_index i
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                 WHERE i.indrelid = c.oid AND i.indisprimary), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'encryptdb') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1, 2
"""

# So that a row reads the same on both sides, whatever the servers' settings.
_SAME_TEXT = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1; SET bytea_output = 'hex'"

_WRITTEN_HERE = sql.SQL(
    "(SELECT c.roident = 0 AND c.timestamp > {since} FROM pg_xact_commit_timestamp_origin(t.xmin) c) IS TRUE"
)
_CAME_BACK = sql.SQL(
    "(SELECT c.roident <> 0 AND c.timestamp > {since} FROM pg_xact_commit_timestamp_origin(t.xmin) c) IS TRUE"
)


@dataclass(frozen=True)
class Table:
    """A table or leaf partition; `key` holds the columns of its primary key, none if it has none."""

    schema: str
    name: str
    key: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def identifier(self) -> sql.Composed:
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(self.name))

    def key_text(self) -> sql.Composed:
        columns = sql.SQL(", ").join(sql.Identifier("t", column) for column in self.key)
        return sql.SQL("ROW({})::text").format(columns)


@dataclass(frozen=True)
class Digest:
    """Row count, and two sums of independent 64-bit hashes of the rows: the order of the rows does not matter."""

    rows: int
    sums: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.rows} rows ({abs(hash(self.sums)) % 16**8:08x})"


@dataclass(frozen=True)
class Comparison:
    """One table on both sides. `set_aside` counts the target's rows that were written there since the opening."""

    table: Table
    source: Digest | None
    target: Digest | None
    set_aside: int

    @property
    def equal(self) -> bool:
        """Whether all rows that were not set aside are the same. A table on one side only is not equal."""
        return self.source is not None and self.source == self.target


def tables(connection: Connection) -> list[Table]:
    """All tables of a database that hold the application's rows."""
    return [Table(schema, name, tuple(key)) for schema, name, key in connection.execute(_TABLES)]


def compare(source: Connection, target: Connection, since: datetime) -> list[Comparison]:
    """Compare all tables of two databases. `since` is a time of the target's clock after the last commit that the
    snapshot held and before applications wrote to the target. It must have kept commit timestamps all the while."""
    for connection in (source, target):
        connection.execute(_SAME_TEXT)
    here, there = tables(source), tables(target)
    return [
        _compare(source if table in here else None, target if table in there else None, table, since)
        for table in sorted({*here, *there}, key=str)
    ]


def _compare(source: Connection | None, target: Connection | None, table: Table, since: datetime) -> Comparison:
    aside: list[str] = []
    set_aside = 0
    target_digest = source_digest = None
    if target is not None:
        written = _WRITTEN_HERE.format(since=sql.Literal(since))
        target_digest = digest(target, table, sql.SQL("NOT {}").format(written))
        count = sql.SQL("SELECT count(*) FROM ONLY {} t WHERE {}").format(table.identifier(), written)
        set_aside = one(target, count)[0]
        if table.key and set_aside:
            keys = sql.SQL("SELECT {} FROM ONLY {} t WHERE {}").format(table.key_text(), table.identifier(), written)
            aside = [row[0] for row in target.execute(keys)]
    if source is not None:
        condition = sql.SQL("NOT {}").format(_CAME_BACK.format(since=sql.Literal(since)))
        if aside:
            condition += sql.SQL(" AND NOT {} = ANY ({})").format(table.key_text(), sql.Literal(aside))
        source_digest = digest(source, table, condition)
    return Comparison(table, source_digest, target_digest, set_aside)


def digest(connection: Connection, table: Table, condition: sql.Composable) -> Digest:
    """The digest of those rows `t` of `table` for which `condition` holds."""
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0),"
        " coalesce(sum(hashtextextended(t::text, 1)::numeric), 0) FROM ONLY {} t WHERE {}"
    ).format(table.identifier(), condition)
    rows, first, second = one(connection, query)
    return Digest(rows, (int(first), int(second)))
