"""Sequences are not replicated: copy last_value and is_called of all of them.

A copy's sequence can be behind (nextval is not replicated) or ahead (32 values are logged at a time). Copied before the
pause and again inside it, where only those that changed in between are set: one round trip to read, one to set.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import catalog
from encryptdb.controller.postgres.server import Server, at_once
from encryptdb.stacks.contract.errors import AGAIN, Refused

BATCH = 1000
"""Sequences per transaction: each holds a lock until its end, and the lock table is shared."""

LIST_SQL = f"""
-- The sequences of this database that move, their definition, and whether we may read and set them.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid::bigint AS oid,
       format('%s start %s increment %s min %s max %s%s', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin,
              s.seqmax, CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END) AS definition,
       {catalog.PERMITTED} AS permitted
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {catalog.SEQUENCE}
"""

OIDS_SQL = f"""
SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {catalog.SEQUENCE}
"""

READ_SQL = """
-- From 18 on.
SELECT u.oid::bigint, d.last_value, d.is_called
  FROM unnest({oids}::oid[]) u (oid), pg_get_sequence_data(u.oid) d
"""

READ_BEFORE_18_SQL = """
-- pg_sequence_last_value is NULL for one that was never called, but setval(…, false) may have moved that one too.
SELECT c.oid::bigint,
       coalesce(l.value, (xpath('//last_value/text()', query_to_xml(
           format('SELECT last_value FROM %I.%I', n.nspname, c.relname), false, true, '')))[1]::text::bigint),
       l.value IS NOT NULL
  FROM unnest({oids}::oid[]) u (oid) JOIN pg_class c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT pg_sequence_last_value(c.oid) AS value OFFSET 0) l
"""

SET_SQL = """
SELECT count(setval(u.oid::regclass, u.value, u.called))
  FROM unnest({oids}::oid[], {values}::bigint[], {called}::bool[]) u (oid, value, called)
"""


@dataclass(frozen=True)
class Definition:
    """A sequence's definition. `permitted`: this role may read and set it."""

    schema: str
    name: str
    oid: int
    definition: str
    permitted: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.schema, self.name


@dataclass(frozen=True)
class Value:
    """The state of a sequence, as in its relation."""

    last_value: int
    is_called: bool


@dataclass
class Plan:
    """By database: oid on `from_` → oid on `to`, and the last known state on `to`."""

    pairs: dict[str, dict[int, int]]
    known: dict[str, dict[int, Value]]


def plan(direction: Direction) -> Plan:
    """Pair the sequences of both sides by name, and read those of `to`. Before the pause; changes nothing.

    Raises Refused if definitions differ, or a sequence may not be read or set.
    """
    leaving, arriving = (
        direction.in_each(lambda d: _list(direction.from_, d.name)),
        direction.in_each(lambda d: _list(direction.to, d.name)),
    )
    problems: list[str] = []
    pairs: dict[str, dict[int, int]] = {}
    for database in (d.name for d in direction.databases):
        here, there = {s.key: s for s in leaving[database]}, {s.key: s for s in arriving[database]}
        problems += _differences(database, direction, here, there)
        pairs[database] = {here[key].oid: there[key].oid for key in here.keys() & there.keys()}
    if problems:
        raise Refused(
            "The sequences of source and target differ, or may not be read and set.",
            detail="; ".join(problems),
            hint="Definitions are not replicated: make the same change on both sides. Where permission is missing, on "
            f"both sides: GRANT SELECT, UPDATE ON SEQUENCE … TO {direction.from_.login.user};",
        )
    return Plan(pairs, direction.in_each(lambda d: _read(direction.to, d.name, list(pairs[d.name].values()))))


Values = Mapping[str, Mapping[int, Value]]
"""By database: oid on `from_` → its state there."""


def read(direction: Direction, planned: Plan) -> Values:
    """The state of every sequence on `from_`. Raises Refused if one was created or dropped since `plan`."""
    return direction.in_each(lambda d: _read_planned(direction, d.name, planned.pairs[d.name]))


def put(direction: Direction, planned: Plan, values: Values) -> int:
    """Set the sequences of `to` to that state; returns how many differed."""
    return sum(direction.in_each(lambda d: _put(direction, d.name, planned, values[d.name])).values())


def _read_planned(direction: Direction, database: str, pairs: Mapping[int, int]) -> dict[int, Value]:
    (present, *read) = _in_one_trip(
        direction.from_, database, [sql.SQL(OIDS_SQL), *_reading(direction.from_, database, pairs)]
    )
    if {oid for (oid,) in present} != pairs.keys():
        raise Refused(
            f"A sequence was created or dropped in {database!r} on the {direction.from_.side} during the "
            f"{direction.name}.",
            detail="Definitions are not replicated.",
            hint=f"Make the same change on the {direction.to.side}, stop changing the schema, then: {AGAIN}",
        )
    return _values(read)


def _put(direction: Direction, database: str, planned: Plan, values: Mapping[int, Value]) -> int:
    pairs, known = planned.pairs[database], planned.known[database]
    moved = {pairs[oid]: value for oid, value in values.items() if known.get(pairs[oid]) != value}
    setting = [
        sql.SQL(SET_SQL).format(
            oids=_array(batch),
            values=_array(moved[oid].last_value for oid in batch),
            called=_array(moved[oid].is_called for oid in batch),
        )
        for batch in _batches(moved)
    ]
    _in_one_trip(direction.to, database, setting)
    known.update(moved)
    return len(moved)


def _list(server: Server, database: str) -> list[Definition]:
    return server.rows(Definition, LIST_SQL, database=database)


def _read(server: Server, database: str, oids: Iterable[int]) -> dict[int, Value]:
    return _values(_in_one_trip(server, database, _reading(server, database, oids)))


def _reading(server: Server, database: str, oids: Iterable[int]) -> list[sql.Composable]:
    with server.translated(database):
        version = server.db(database).info.server_version
    query = sql.SQL(READ_SQL if version >= 180000 else READ_BEFORE_18_SQL)
    return [query.format(oids=_array(batch)) for batch in _batches(oids)]


def _values(read: Iterable[list[tuple[Any, ...]]]) -> dict[int, Value]:
    return {oid: Value(last_value, is_called) for rows in read for oid, last_value, is_called in rows}


def _in_one_trip(server: Server, database: str, statements: Sequence[sql.Composable]) -> list[list[tuple[Any, ...]]]:
    """Run each in a transaction of its own, all sent at once; the rows of each."""
    if not statements:
        return []
    with server.translated(database):
        sent = sql.SQL("").join(sql.SQL("BEGIN; {}; COMMIT; ").format(statement) for statement in statements)
        return at_once(server.db(database), sent)


def _differences(
    database: str,
    direction: Direction,
    here: dict[tuple[str, str], Definition],
    there: dict[tuple[str, str], Definition],
) -> Iterator[str]:
    for key in sorted(here.keys() | there.keys()):
        name = f"{database}: {key[0]}.{key[1]}"
        if key not in there:
            yield f"{name} is missing on the {direction.to.side}"
        elif key not in here:
            yield f"{name} is missing on the {direction.from_.side}"
        elif here[key].definition != there[key].definition:
            yield f"{name} is {here[key].definition} here and {there[key].definition} on the {direction.to.side}"
        elif not (here[key].permitted and there[key].permitted):
            yield f"{name}: permission denied"


def _batches(oids: Iterable[int]) -> Iterator[list[int]]:
    remaining = list(oids)
    for start in range(0, len(remaining), BATCH):
        yield remaining[start : start + BATCH]


def _array(values: Iterable[object]) -> sql.Literal:
    """The text of an array of numbers or booleans: one literal, whatever its type will be."""
    return sql.Literal("{" + ",".join(str(value) for value in values) + "}")
