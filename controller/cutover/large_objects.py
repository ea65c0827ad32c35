"""Large objects are not replicated: they come with the snapshot only, so none may have changed since.

Their contents are compared before the pause. Inside it, the server's count of writes to them is read once more:
sessions report it at their end at the latest, and the fence has ended them all. Below PostgreSQL 15 the report travels
by UDP and may come late, so there it is no proof.
"""

from collections.abc import Mapping

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.server import Server
from encryptdb.stacks.contract.errors import Problem

COMPARE_SECONDS = 600.0
"""How long reading all large objects of a database may take."""

WRITTEN_SQL = """
-- How much was written to large objects of this database since its statistics were reset.
SELECT sum(pg_stat_get_tuples_inserted(r) + pg_stat_get_tuples_updated(r) + pg_stat_get_tuples_deleted(r))::bigint
  FROM unnest(ARRAY['pg_largeobject', 'pg_largeobject_metadata']::regclass[]) r
"""

LIST_SQL = "SELECT oid::bigint FROM pg_largeobject_metadata ORDER BY oid"

DIGEST_SQL = """
-- One digest over the contents of all of them. By pieces of 16 MB: one may be larger than a value can be.
SELECT md5(string_agg(format('%s:%s', o.oid, o.digest), ',' ORDER BY o.oid))
  FROM (SELECT m.oid, (SELECT md5(string_agg(md5(lo_get(m.oid, at, 16777216)), ',' ORDER BY at))
                         FROM generate_series(0, greatest(s.size - 1, 0), 16777216) at) AS digest
          FROM pg_largeobject_metadata m
          CROSS JOIN LATERAL (SELECT lo_open(m.oid, 262144) AS fd OFFSET 0) f
          CROSS JOIN LATERAL (SELECT lo_lseek64(f.fd, 0, 2) AS size, lo_close(f.fd) OFFSET 0) s) o
"""

Counts = Mapping[str, int | None]
"""Database → the count of WRITTEN_SQL."""


def written(server: Server, direction: Direction) -> dict[str, int | None]:
    """The counts of one server."""
    return direction.in_each(lambda d: _one(server, d.name, WRITTEN_SQL))


def differences(direction: Direction) -> list[str]:
    """Databases whose large objects differ or cannot be compared, as text. Reads all contents."""
    return [words for words in direction.in_each(lambda d: _compare(direction, d)).values() if words is not None]


def changed(server: Server, direction: Direction, before: Counts) -> list[str]:
    """Databases of one side in which large objects were written since `before`."""
    now = written(server, direction)
    return [d.name for d in direction.databases if d.name in before and now[d.name] != before[d.name]]


def _compare(direction: Direction, database: Named) -> str | None:
    name = database.name
    lists = []
    for server in (direction.from_, direction.to):
        lists.append({oid for (oid,) in server.rows(None, LIST_SQL, database=name)})
    here, there = lists
    if here != there:
        return (
            f"{name}: {len(here - there)} only on the {direction.from_.side}, {len(there - here)} only on the"
            f" {direction.to.side}"
        )
    if not here:
        return None
    try:
        digests = {_digest(server, name) for server in (direction.from_, direction.to)}
    except Problem as problem:
        return f"{name}: the contents of its {len(here)} cannot be compared ({problem.detail or problem.message})"
    return None if len(digests) == 1 else f"{name}: contents differ"


def _digest(server: Server, database: str) -> object:
    with server.translated(database), server.connect(database, statement_seconds=COMPARE_SECONDS) as connection:
        return connection.execute(DIGEST_SQL).fetchone()


def _one(server: Server, database: str, query: str) -> int | None:
    count: int | None = server.value(query, database=database)
    return count
