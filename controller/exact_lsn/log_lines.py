"""What a server log says about where recovery ended. Pure.

Recovery reads records until one is not there; the message about that one says where it looked. Whether the LSN in
it is the end depends on the message: most name the start of the record that was missing, a few name a page. The
texts are those of xlogreader.c, xlogrecovery.c (xlog.c up to 14) and xlog.c of PostgreSQL 13 to 18; 19 pads LSNs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from encryptdb.controller.postgres.lsn import LSN

_AT = r"([0-9A-F]{1,8}/[0-9A-F]{1,8})"
_PAGE = r"(?:log|WAL) segment \w+,(?: LSN @,)? offset \d+"


class Means(Enum):
    """What the LSN of a message is."""

    NEXT_RECORD = "where the next record would have begun: the end of recovery"
    LAST_RECORD = "the start of the last replayed record: the end lies after it"
    PAGE = "a page that was not written: the end may lie before it, by a record torn across the page"
    REDO_POINT = "the redo point of the checkpoint after recovery: past the end where a torn record was skipped"


@dataclass(frozen=True)
class Kind:
    """One message of PostgreSQL: its name for the operator, how it is recognised, and what its LSN is."""

    name: str
    pattern: re.Pattern[str]
    means: Means


def _kind(name: str, pattern: str, means: Means) -> Kind:
    return Kind(name, re.compile(pattern.replace("@", _AT)), means)


KINDS: tuple[Kind, ...] = (
    # 15 and older end in "wanted 24, got 0", 16 and newer in "expected at least 24, got 0".
    _kind("invalid record length", r"invalid record length at @: (?:wanted|expected)", Means.NEXT_RECORD),
    _kind("record length too long", r"record length \d+ at @ too long", Means.NEXT_RECORD),
    _kind("invalid record offset", r"invalid record offset at @", Means.NEXT_RECORD),
    _kind("contrecord is requested", r"contrecord is requested by @", Means.NEXT_RECORD),
    _kind("no contrecord flag", r"there is no contrecord flag at @", Means.NEXT_RECORD),
    _kind("invalid contrecord length", r"invalid contrecord length \d+ (?:\(.*\) )?at @", Means.NEXT_RECORD),
    _kind("incorrect prev-link", r"record with incorrect prev-link [0-9A-F]+/[0-9A-F]+ at @", Means.NEXT_RECORD),
    _kind("incorrect checksum", r"incorrect resource manager data checksum in record at @", Means.NEXT_RECORD),
    _kind("invalid resource manager", r"invalid resource manager ID \d+ at @", Means.NEXT_RECORD),
    # Up to 15 these name the segment and the offset only; "pageaddr X" is what stood there, not where.
    _kind("unexpected pageaddr", r"unexpected pageaddr [0-9A-F]+/[0-9A-F]+ in " + _PAGE, Means.PAGE),
    _kind("invalid magic number", r"invalid magic number \w+ in " + _PAGE, Means.PAGE),
    _kind("invalid info bits", r"invalid info bits \w+ in " + _PAGE, Means.PAGE),
    _kind("out-of-sequence timeline", r"out-of-sequence timeline ID \d+ \(after \d+\) in " + _PAGE, Means.PAGE),
    # 14 and newer append " system usage: ...".
    _kind("redo done", r"redo done at @", Means.LAST_RECORD),
    _kind("checkpoint complete", r"checkpoint complete: .*; lsn=[0-9A-F/]+, redo lsn=@", Means.REDO_POINT),
)
"""Every message that ends a recovery. Each pattern has one group, the LSN; a page message may be without."""

# A message stands right after the line's first severity, in stderr, csvlog and jsonlog alike. Anything looser, and the
# text of a logged statement could pass for a message of the server.
_MESSAGE = re.compile(
    r"(?:\b(LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG\d?|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|LOCATION):\s+"
    r'|,(LOG),\w{5},"|"error_severity":"(LOG)".*"message":")(.*)'
)

_BEGINS = re.compile(
    r"database system was (?:interrupted|not properly shut down|shut down)|database system shutdown was interrupted"
)
_CLEAN = re.compile(r"database system was shut down at")
_READY = re.compile(r"database system is ready to accept connections")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,6}))? (UTC|GMT|Z|[+-]\d\d(?::?\d\d)?)")
_EPOCH = re.compile(r"^\D{0,3}(\d{10})\.(\d{3})\b")


@dataclass(frozen=True)
class Line:
    """One message about the end of recovery."""

    kind: Kind
    lsn: LSN | None
    text: str


@dataclass(frozen=True)
class Recovery:
    """One start of the server: `clean` where it had been shut down (nothing to recover), `finished` where the log
    tells that it opened. `lines` are in the order of the log."""

    clean: bool
    finished: bool
    lines: tuple[Line, ...]


def first_recovery(lines: Iterable[str], since: datetime | None = None) -> Recovery | None:
    """The first start at or after `since`; None where the log has none. Reads no further than it needs.

    Later restarts of the copy log LSNs of its own WAL, and earlier lines are the source's, which came along on the
    volume: neither counts. A line whose time cannot be read (a prefix without one, a local time zone) has the time
    of the line before it.
    """
    # A prefix with whole seconds cuts the fraction off.
    floor = since.replace(microsecond=0) if since else None
    recent = floor is None
    begun, clean = False, False
    found: list[Line] = []
    for line in lines:
        at = time_of(line)
        if at is not None and floor is not None:
            recent = at >= floor
        message = _server_message(line)
        if not recent or message is None:
            continue
        if _BEGINS.match(message):
            # Again before it was ready: the start before was cut off, and this one replays the same WAL anew.
            begun, clean = True, _CLEAN.match(message) is not None
            found.clear()
        elif begun and _READY.match(message):
            return Recovery(clean, True, tuple(found))
        elif begun and (read := read_line(message)) is not None:
            found.append(read)
    return Recovery(clean, False, tuple(found)) if begun else None


def read_line(message: str) -> Line | None:
    """The message as one of KINDS, or None."""
    for kind in KINDS:
        if (matched := kind.pattern.match(message)) is not None:
            lsn = matched.group(1)
            return Line(kind, LSN.parse(lsn) if lsn else None, message.split('"')[0].rstrip())
    return None


def time_of(line: str) -> datetime | None:
    """The time in a line's prefix (%t, %m or %n), where it is in UTC or has an offset."""
    if (found := _EPOCH.match(line)) is not None:
        return datetime.fromtimestamp(int(found.group(1)), UTC) + timedelta(milliseconds=int(found.group(2)))
    if (found := _TIME.search(line[:80])) is None:
        return None
    zone = found.group(3)
    offset = "+00:00" if zone in ("UTC", "GMT", "Z") else zone if len(zone) > 3 else f"{zone}:00"
    return datetime.fromisoformat(f"{found.group(1)}.{(found.group(2) or '0').ljust(6, '0')}{offset}")


def _server_message(line: str) -> str | None:
    """The text of a LOG message; None for any other line. Continuation lines begin with a tab."""
    found = None if line.startswith("\t") else _MESSAGE.search(line)
    if found is None or "LOG" not in found.groups()[:3]:
        return None
    return str(found.group(4))
