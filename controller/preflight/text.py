"""Text of findings: quoted names, lists that stay short, sizes and durations."""

from collections.abc import Iterable

from psycopg import sql

SHOWN = 8
"""How many names a sentence lists before it counts the rest. A remedy lists all of them."""


def ident(*parts: str) -> str:
    """A quoted SQL identifier: `"Audit".log` becomes `"Audit"."log"`."""
    return sql.Identifier(*parts).as_string(None)


def literal(value: str) -> str:
    """A quoted SQL string."""
    return sql.Literal(value).as_string(None).strip()


def listed(names: Iterable[str]) -> str:
    """`a, b, c`, or `a, b, … and 40 more`."""
    every = list(names)
    if len(every) <= SHOWN:
        return ", ".join(every)
    return f"{', '.join(every[:SHOWN])} and {len(every) - SHOWN} more"


def lines(statements: Iterable[str]) -> str:
    """Statements one a line, each once, in the order given."""
    return "\n".join(dict.fromkeys(statements))


def commented(commands: str) -> str:
    """Shell commands inside of SQL: for a person to read, and for psql to skip."""
    return "\n".join(f"-- {line}" for line in commands.splitlines())


def size(count: float) -> str:
    """A number of bytes: `3.2 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """A length of time: `40 s`, `12 min`, `3.5 h`, `4.0 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
