"""The `[databases]` section of a PgBouncer configuration file: its entries, and a change of their host and port alone.

An entry is `name = host=… port=… dbname=…`; names may be double-quoted, values single-quoted with '' for a quote
(PgBouncer's doc/config.md, section databases). Pure.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_PORT = 5432

_SECTION = re.compile(r"\s*\[([^\]]*)\]\s*$")
_ENTRY = re.compile(r"(\s*(\"(?:[^\"]|\"\")*\"|[^\s=;#\"]+)\s*=\s*)(.*?)(\s*)$", re.DOTALL)
_PAIR = re.compile(r"(\w+)(\s*=\s*)('(?:[^']|'')*'|[^\s']+)")


@dataclass(frozen=True)
class Entry:
    """One pool. `host` is None for a Unix socket; `database` is its dbname."""

    name: str
    host: str | None
    port: int
    database: str


def entries(text: str) -> list[Entry]:
    """Every entry of the section."""
    found = []
    for line, is_entry in _lines(text):
        matched = _ENTRY.match(line) if is_entry else None
        if matched:
            found.append(_entry(matched))
    return found


def repoint(text: str, wanted: Callable[[Entry], bool], host: str, port: int) -> str:
    """The file's text with the entries for which `wanted` is true pointing to host and port."""
    out = []
    for line, is_entry in _lines(text):
        matched = _ENTRY.match(line) if is_entry else None
        if matched and wanted(_entry(matched)):
            head, _, value, tail = matched.groups()
            line = head + _set(_set(value, "host", host), "port", str(port)) + tail
        out.append(line)
    return "".join(out)


def _lines(text: str) -> list[tuple[str, bool]]:
    """Each line with its line end, and whether it is one of the section's entries."""
    section, found = "", []
    for line in text.splitlines(keepends=True):
        heading = _SECTION.match(line)
        if heading:
            section = heading.group(1).strip().lower()
        comment = line.lstrip().startswith((";", "#", "%"))
        found.append((line, section == "databases" and not heading and not comment and "=" in line))
    return found


def _entry(matched: re.Match[str]) -> Entry:
    raw = matched.group(2)
    name = raw[1:-1].replace('""', '"') if raw.startswith('"') else raw
    pairs = {key: _plain(value) for key, _, value in _PAIR.findall(matched.group(3))}
    return Entry(name, pairs.get("host"), int(pairs.get("port", DEFAULT_PORT)), pairs.get("dbname", name))


def _plain(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def _set(value: str, key: str, new: str) -> str:
    replaced, count = re.subn(
        _PAIR, lambda p: f"{p.group(1)}{p.group(2)}{new}" if p.group(1) == key else p.group(0), value
    )
    if any(found[0] == key for found in _PAIR.findall(value)):
        return replaced
    return f"{value} {key}={new}" if count else f"{key}={new}"
