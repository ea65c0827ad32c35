"""What there is to compare in one database, from each side's catalog."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from encryptdb.controller.postgres import catalog as moving
from encryptdb.controller.postgres.server import Db, rows_of
from encryptdb.controller.record_values import NotCovered
from encryptdb.controller.verify.result import SequenceResult, TableResult

TABLES_SQL = f"""
-- Every table whose rows are published: partitions, not their parents. The key is the
-- primary key, or else the index of the replica identity.
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, format('%I.%I', n.nspname, c.relname) AS shown,
       CASE WHEN am.amname = 'heap' THEN greatest(c.relpages, 0) ELSE 0 END AS pages,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS types,
       ARRAY(SELECT a.attname::text
               FROM (SELECT indrelid, indkey::int2[] AS attnums, indnkeyatts FROM pg_index
                      WHERE indrelid = c.oid AND indisvalid AND (indisprimary OR indisreplident)
                      ORDER BY indisprimary DESC LIMIT 1) i
               CROSS JOIN LATERAL unnest(i.attnums) WITH ORDINALITY k (attnum, position)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.position <= i.indnkeyatts ORDER BY k.position) AS key
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_am am ON am.oid = c.relam
 WHERE c.relkind = 'r' AND {moving.PUBLISHED}
 ORDER BY n.nspname, c.relname
"""

NOT_COVERED_SQL = f"""
-- What logical replication does not carry, and the comparison therefore does not cover.
SELECT kind, count(*)::int, (array_agg(name ORDER BY name))[1:10]
  FROM (SELECT CASE WHEN c.relpersistence = 'u' THEN 'unlogged table' WHEN c.relkind = 'm' THEN 'materialized view'
                    ELSE 'foreign table' END AS kind,
               format('%I.%I', n.nspname, c.relname) AS name
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE (c.relkind IN ('m', 'f') OR c.relkind = 'r' AND c.relpersistence = 'u') AND {moving.OWNERS}
        UNION ALL SELECT 'large object', oid::text FROM pg_largeobject_metadata) found
 GROUP BY kind ORDER BY kind
"""

SEQUENCES_SQL = f"""
-- last_value is NULL where the sequence was never used, or may not be read.
SELECT format('%I.%I', n.nspname, c.relname),
       CASE WHEN has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(c.oid) END, s.seqincrement
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {moving.SEQUENCE} ORDER BY 1
"""


@dataclass(frozen=True)
class Table:
    """One table on one side. `pages` is pg_class.relpages (0: unknown, or not a heap), `shown` the quoted name."""

    oid: int
    schema: str
    name: str
    shown: str
    pages: int
    columns: list[str]
    types: list[str]
    key: list[str]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Pair:
    """One table on both sides. The oids differ if it was created after the snapshot."""

    publisher: Table
    subscriber: Table

    @property
    def shown(self) -> str:
        return self.publisher.shown


def tables(connection: Db) -> dict[str, Table]:
    """Every table to compare, by its quoted name."""
    return {t.shown: t for t in rows_of(connection, Table, TABLES_SQL)}


def pair_up(
    database: str, publisher: Mapping[str, Table], subscriber: Mapping[str, Table], sides: tuple[str, str]
) -> tuple[list[Pair], list[TableResult]]:
    """Tables to compare row by row, and differences in the catalog. `sides` names publisher and subscriber."""
    pairs, different = [], []
    for shown in sorted(publisher.keys() | subscriber.keys()):
        here, there = publisher.get(shown), subscriber.get(shown)
        if here is None or there is None:
            only = sides[0] if here else sides[1]
            why = f"only on the {only}: definitions are not replicated"
            different.append(TableResult(database, shown, equal=False, reason=why))
        elif wrong := list(_columns(here, there, sides)):
            different.append(TableResult(database, shown, equal=False, reason="; ".join(wrong)))
        else:
            pairs.append(Pair(here, there))
    return pairs, different


def _columns(here: Table, there: Table, sides: tuple[str, str]) -> Iterator[str]:
    """How the columns of two tables differ. Their order does not matter."""
    ours, theirs = dict(zip(here.columns, here.types, strict=True)), dict(zip(there.columns, there.types, strict=True))
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            yield f"column {name!r} only on the {sides[0]}"
        elif name not in ours:
            yield f"column {name!r} only on the {sides[1]}"
        elif ours[name] != theirs[name]:
            yield f"column {name!r} is {ours[name]} on the {sides[0]} and {theirs[name]} on the {sides[1]}"


def not_covered(connection: Db, *, sequences_compared: bool) -> list[NotCovered]:
    """What the comparison does not cover."""
    found = [NotCovered(kind, n, tuple(names)) for kind, n, names in connection.execute(NOT_COVERED_SQL).fetchall()]
    if not sequences_compared and (listed := connection.execute(SEQUENCES_SQL).fetchall()):
        # A target's sequences lag until cutover sets them.
        found.append(NotCovered("sequence (set at cutover)", len(listed), tuple(row[0] for row in listed[:10])))
    return found


def sequences(database: str, source: Db, target: Db) -> list[SequenceResult]:
    """After OPEN: whether the target's sequences are at or past the source's."""
    theirs = {name: last for name, last, _ in target.execute(SEQUENCES_SQL).fetchall()}
    return [
        SequenceResult(database, name, last, theirs.get(name), _ahead(last, theirs.get(name), step))
        for name, last, step in source.execute(SEQUENCES_SQL).fetchall()
    ]


def _ahead(source: int | None, target: int | None, step: int) -> bool:
    if source is None:
        return True
    return target is not None and (target >= source if step > 0 else target <= source)


GROUP_TABLES = 250
"""Each table of a group takes an entry of the lock table, which has at least 6,400 by default."""

GROUP_PAGES = 1 << 20
"""8 GB. A group's snapshot holds back vacuum while it is read, so a big table gets its own group."""


def groups(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Tables that are compared at the same point."""
    found: list[list[Pair]] = []
    pages = 0
    for pair in pairs:
        if not found or len(found[-1]) >= GROUP_TABLES or pages + pair.publisher.pages > GROUP_PAGES:
            found.append([])
            pages = 0
        found[-1].append(pair)
        pages += pair.publisher.pages
    return found
