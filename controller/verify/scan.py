"""Reads one table in a held snapshot: its digest, the digests of its parts, the hashes of rows.

Rows are compared as text under `SCAN_SETTINGS_SQL`, which is exact for PostgreSQL's types, floats and jsonb included.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from psycopg import errors, sql

from encryptdb.controller.postgres.server import Db
from encryptdb.controller.verify.catalog import Table
from encryptdb.controller.verify.result import Digest

PIECE_PAGES = 1 << 16
"""512 MB: a larger table is read in pieces, to report progress."""

DIGEST_SQL = sql.SQL("""
SELECT count(*), coalesce(sum(a), 0), coalesce(sum(b), 0), {intact}
  FROM (SELECT hashtextextended(r, 0) AS a, hashtextextended(r, 1) AS b
          FROM (SELECT ROW({columns})::text COLLATE "C" AS r FROM ONLY {table} AS t WHERE {where} OFFSET 0) x) y
""")

PARTS_SQL = sql.SQL("""
SELECT part, count(*), sum(a), sum(b)
  FROM (SELECT hashtextextended(k, 2) % {parts} AS part, hashtextextended(r, 0) AS a, hashtextextended(r, 1) AS b
          FROM (SELECT ROW({columns})::text COLLATE "C" AS r, ROW({key})::text COLLATE "C" AS k
                  FROM ONLY {table} AS t OFFSET 0) x) y
 GROUP BY part
""")

ROWS_SQL = sql.SQL("""
SELECT shown, a, b, count(*)
  FROM (SELECT shown, hashtextextended(r, 0) AS a, hashtextextended(r, 1) AS b
          FROM (SELECT {shown} AS shown, ROW({columns})::text COLLATE "C" AS r, ROW({key})::text COLLATE "C" AS k
                  FROM ONLY {table} AS t OFFSET 0) x
         WHERE hashtextextended(k, 2) % {parts} = ANY ({wanted})) y
 GROUP BY shown, a, b
""")

INTACT_SQL = sql.SQL(
    # pg_class is read in the snapshot, the function looks at the present: they differ once the table was truncated
    # or rewritten, and a table that was truncated looks empty to an older snapshot.
    "(SELECT c.relfilenode = pg_relation_filenode(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = {oid}::oid)"
)

RowKey = tuple[tuple[str | None, ...] | None, int, int]
"""Key columns as text (None without a key), and the two hashes of the whole row."""


class Unreadable(Exception):
    """The table could not be read as of the point. `final`: retrying is useless."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final = reason, final


def digest(connection: Db, table: Table, progress: Callable[[float], None]) -> Digest:
    """The table's digest. `progress` gets the fraction read. Raises Unreadable."""
    total = Digest()
    with _reading(connection):
        for where, done in _pieces(table, connection.info.server_version):
            query = DIGEST_SQL.format(
                intact=_intact(table), columns=_row(table.columns), table=table.identifier, where=where
            )
            rows, first, second, intact = _one(connection, query)
            _check(intact)
            total += Digest(rows, int(first), int(second))
            progress(done)
    return total


def parts(connection: Db, table: Table, number: int) -> dict[int, Digest]:
    """The digests of `number` parts of the table, by hash of the key. Raises Unreadable."""
    query = PARTS_SQL.format(
        parts=sql.Literal(number), columns=_row(table.columns), key=_key(table), table=table.identifier
    )
    with _reading(connection):
        found = {part: Digest(n, int(a), int(b)) for part, n, a, b in connection.execute(query).fetchall()}
        _check(_one(connection, sql.SQL("SELECT {}").format(_intact(table)))[0])
    return found


def rows(connection: Db, table: Table, number: int, wanted: Iterable[int]) -> Counter[RowKey]:
    """The rows of the `wanted` parts out of `number`, by key and hashes. Raises Unreadable."""
    shown = sql.SQL("ARRAY[{}]").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("t", column)) for column in table.key)
    )
    query = ROWS_SQL.format(
        shown=shown if table.key else sql.SQL("NULL::text[]"),
        columns=_row(table.columns),
        key=_key(table),
        table=table.identifier,
        parts=sql.Literal(number),
        wanted=sql.Literal(list(wanted)),
    )
    with _reading(connection):
        found: Counter[RowKey] = Counter()
        for key, first, second, times in connection.execute(query):
            found[(None if key is None else tuple(key), first, second)] = times
        _check(_one(connection, sql.SQL("SELECT {}").format(_intact(table)))[0])
    return found


@contextlib.contextmanager
def _reading(connection: Db) -> Iterator[None]:
    """Read in a savepoint that is rolled back: this keeps the snapshot and releases the table's lock."""
    try:
        with connection.transaction(force_rollback=True):
            yield
    except errors.QueryCanceled:
        raise Unreadable("busy: DDL or TRUNCATE is waiting for it") from None
    except errors.LockNotAvailable:
        raise Unreadable("busy: it is locked by DDL") from None
    except (errors.UndefinedTable, errors.UndefinedColumn):
        raise Unreadable("its definition changed") from None
    except errors.InsufficientPrivilege as error:
        raise Unreadable(f"permission denied: {_said(error)}", final=True) from None
    except (errors.DataException, errors.InternalError, errors.ProgramLimitExceeded) as error:
        # A row of more than 1 GB, or a damaged page.
        raise Unreadable(f"it cannot be read: {_said(error)}", final=True) from None


def _said(error: errors.Error) -> str:
    """The server's primary message: names, never values."""
    return error.diag.message_primary or type(error).__name__


def _check(intact: bool | None) -> None:
    if not intact:
        raise Unreadable("busy: it was truncated or rewritten")


def _one(connection: Db, query: sql.Composed) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate, or a SELECT without FROM, has one row"
    return row


def _pieces(table: Table, version: int) -> Iterator[tuple[sql.Composable, float]]:
    """Conditions that partition the rows, and the fraction read after each."""
    # Before 14 there is no TID range scan: every piece would read the whole table.
    if table.pages <= PIECE_PAGES or version < 140000:
        yield sql.SQL("true"), 1.0
        return
    starts = range(0, table.pages, PIECE_PAGES)
    for number, start in enumerate(starts, 1):
        condition = sql.SQL("t.ctid >= {}::tid").format(sql.Literal(f"({start},0)"))
        # The last one is open: the table may have grown since its pages were counted.
        if number < len(starts):
            condition += sql.SQL(" AND t.ctid < {}::tid").format(sql.Literal(f"({start + PIECE_PAGES},0)"))
        yield condition, number / len(starts)


def _row(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)


def _key(table: Table) -> sql.Composed:
    """The key's columns; the whole row without a key."""
    return _row(table.key or table.columns)


def _intact(table: Table) -> sql.Composed:
    return INTACT_SQL.format(oid=sql.Literal(table.oid))
