"""Are the target's sequences past every value that is in use, and not behind the source's?"""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from demo.postgres import Connection, one

# Every sequence of the application, with the columns that draw from it: identity and serial columns own it, a default
# on a standalone sequence depends on it.
_SEQUENCES = """
SELECT n.nspname, c.relname, s.seqincrement, s.seqcycle,
       coalesce(array_agg(DISTINCT ARRAY[tn.nspname::text, t.relname::text, a.attname::text])
                FILTER (WHERE a.attname IS NOT NULL), '{}')
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT refobjid AS rel, refobjsubid AS col FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_class'::regclass
      AND refobjsubid > 0 AND deptype IN ('a', 'i')
    UNION SELECT ad.adrelid, ad.adnum FROM pg_depend d JOIN pg_attrdef ad ON ad.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
) used ON true
LEFT JOIN pg_class t ON t.oid = used.rel LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = used.rel AND a.attnum = used.col
WHERE n.nspname NOT IN ('encryptdb') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Position:
    """Where one sequence stands. `last` is last_value; while not `called`, it is the value that comes first.
    `extreme` is the furthest value, in the sequence's direction, that a column which draws from it holds."""

    name: str
    increment: int
    cycles: bool
    last: int
    called: bool
    extreme: int | None

    @property
    def coming(self) -> int:
        """The next value, if it does not cycle."""
        return self.last + self.increment if self.called else self.last


def positions(connection: Connection) -> dict[str, Position]:
    """All sequences of a database."""
    found = {}
    for schema, name, increment, cycles, columns in connection.execute(_SEQUENCES).fetchall():
        state = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        last, called = one(connection, state)
        furthest = sql.SQL("max" if increment > 0 else "min")
        values = []
        for *table, column in columns:
            query = sql.SQL("SELECT {}({}) FROM {}").format(furthest, sql.Identifier(column), sql.Identifier(*table))
            value = one(connection, query)[0]
            if value is not None:
                values.append(value)
        extreme = (max(values) if increment > 0 else min(values)) if values else None
        found[f"{schema}.{name}"] = Position(f"{schema}.{name}", increment, cycles, last, called, extreme)
    return found


def behind(source: dict[str, Position], target: dict[str, Position]) -> Iterable[str]:
    """What is wrong with the target's sequences, a sentence each.

    A cycling sequence comes back to used values by its nature: of it only that it goes on, if it has begun, is asked.
    """
    for name, there in source.items():
        here = target.get(name)
        if here is None:
            yield f"{name} is not on the target"
        elif here.cycles:
            if there.called and not here.called:
                yield f"{name} has begun on the source and not on the target"
        else:
            direction = 1 if here.increment > 0 else -1
            if here.extreme is not None and direction * here.coming <= direction * here.extreme:
                yield f"{name} comes to {here.coming} next, and {here.extreme} is in use"
            if direction * here.coming < direction * there.coming:
                yield f"{name} comes to {here.coming} next, the source to {there.coming}"
