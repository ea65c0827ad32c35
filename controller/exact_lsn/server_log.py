"""The copy's server log (of a cluster: its writer's): the candidates that its first recovery names.

Recovery reads records until one is missing, and the message about that one tells where it looked. Whether the LSN in
it is the end depends on the message: most name the start of the missing record, a few name a page. The texts are those
of xlogreader.c, xlogrecovery.c (xlog.c up to 14) and xlog.c of PostgreSQL 13 to 18; 19 pads LSNs.

RDS keeps a log file for three days; an exported log stays in CloudWatch Logs. Both are read line by line, and no
further than the end of the first recovery.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from encryptdb.controller.engines import Log
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Candidate, Validity
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Problem

FILE_PORTIONS = 512
"""Calls of DownloadDBLogFilePortion (1 MB each at most) per file: the first recovery stands near the file's beginning,
but lines that came along from the source may precede it."""

_AT = r"([0-9A-F]{1,8}/[0-9A-F]{1,8})"
_PAGE = r"(?:log|WAL) segment \w+,(?: LSN @,)? offset \d+"


@dataclass(frozen=True)
class Unavailable:
    """A source that yields no candidate, and why."""

    source: str
    reason: str


Found = Candidate | Unavailable


class Means(Enum):
    """What the LSN of a message is."""

    NEXT_RECORD = "the start of the missing record: the end of recovery"
    LAST_RECORD = "the start of the last replayed record: recovery ended after it"
    PAGE = "the address of an unwritten page: a record torn across its boundary began before it"
    REDO_POINT = "the redo point of the checkpoint after recovery: past the end if a torn record was skipped"


@dataclass(frozen=True)
class Kind:
    """One message of PostgreSQL: a short name, its pattern, and what its LSN is."""

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
"""Every message that ends a recovery. Each pattern has one group, the LSN; up to 15 a page message has none."""

# The message follows the line's first severity, in stderr, csvlog and jsonlog alike. A looser pattern would match the
# text of a logged statement.
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
    """One start of the server. `clean`: after a shutdown, with nothing to recover. `lines` are in log order."""

    clean: bool
    lines: tuple[Line, ...]


def read(aws: Aws, log: Log) -> list[Found]:
    """The candidates from the RDS log files, or from CloudWatch Logs if the files have no recovery.

    Raises no Problem: a log that cannot be read is Unavailable, with the reasons.
    """
    reasons: list[str] = []
    places: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
        ("the RDS log files", lambda: _files(aws, log)),
        (f"the log group {log.group}", lambda: _group(aws, log)),
    )
    for where, lines in places:
        try:
            recovery = first_recovery(lines(), log.since)
        except Problem as problem:
            reasons.append(f"{where}: {problem.message} {problem.detail or ''}".strip())
            continue
        if recovery is not None and recovery.clean:
            return [Unavailable("server log", "the first start followed a clean shutdown, and logged no LSN")]
        if recovery is not None and recovery.lines:
            return candidates(recovery.lines, where)
        reasons.append(f"{where}: no recovery found")
    return [Unavailable("server log", "; ".join(reasons))]


def candidates(lines: Iterable[Line], where: str) -> list[Found]:
    """What each line of the recovery names, a missing record's start before `redo done`. Pure."""
    found: list[Found] = []
    last: list[Found] = []
    for line in lines:
        source, detail, means = f"server log: {line.kind.name}", f"{line.text} (in {where})", line.kind.means
        if means is Means.PAGE or line.lsn is None:
            found.append(Unavailable(source, f"{detail}: {means.value}"))
        elif means is Means.LAST_RECORD:
            # Past the start of that record and before any other: the walsender compares starts of commit records.
            last.append(Candidate(f"{source}, plus one byte", line.lsn + 1, Validity.ALWAYS, detail))
        else:
            valid = Validity.ALWAYS if means is Means.NEXT_RECORD else Validity.UNLESS_TORN
            found.append(Candidate(source, line.lsn, valid, detail))
    return found + last


def first_recovery(lines: Iterable[str], since: datetime | None = None) -> Recovery | None:
    """The first start at or after `since`; None if the log has none. Reads no further than its end. Pure.

    Earlier lines are the source's, which came along on the volume; later restarts log LSNs of the copy's own WAL.
    A line whose time cannot be read (no time in the prefix, a local time zone) has that of the line before it.
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
            # A start that was cut off before the server was ready: this one replays the same WAL again.
            begun, clean = True, _CLEAN.match(message) is not None
            found.clear()
        elif begun and _READY.match(message):
            break
        elif begun and (known := read_line(message)) is not None:
            found.append(known)
    return Recovery(clean, tuple(found)) if begun else None


def read_line(message: str) -> Line | None:
    """The message as one of KINDS, or None. Pure."""
    for kind in KINDS:
        if (matched := kind.pattern.match(message)) is not None:
            lsn = matched.group(1)
            return Line(kind, LSN.parse(lsn) if lsn else None, message.split('"')[0].rstrip())
    return None


def time_of(line: str) -> datetime | None:
    """The time in a line's prefix (%t, %m or %n) if it is in UTC or has an offset. Pure."""
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


def _files(aws: Aws, log: Log) -> Iterator[str]:
    wanted = {"DBInstanceIdentifier": log.instance, "FilenameContains": "postgres"}
    listed = aws.pages("rds", "describe_db_log_files", "DescribeDBLogFiles", **wanted)
    # LastWritten is in milliseconds. A file last written before the instance was created is the source's.
    oldest = log.since.timestamp() * 1000 - 1000 if log.since else 0
    files = [f for f in listed if int(f.get("LastWritten") or 0) >= oldest or not f.get("LastWritten")]
    for file in sorted(files, key=lambda f: (int(f.get("LastWritten") or 0), f["LogFileName"])):
        yield from _file(aws, log.instance, file["LogFileName"])


def _file(aws: Aws, identifier: str, name: str) -> Iterator[str]:
    marker, rest = "0", ""
    for _ in range(FILE_PORTIONS):
        answer = aws.call(
            "rds", "download_db_log_file_portion", DBInstanceIdentifier=identifier, LogFileName=name, Marker=marker
        )
        # A portion may end within a line.
        *whole, rest = (rest + (answer.get("LogFileData") or "")).split("\n")
        yield from whole
        following = answer.get("Marker")
        if not answer.get("AdditionalDataPending") or not following or following == marker:
            break
        marker = following
    yield rest


def _group(aws: Aws, log: Log) -> Iterator[str]:
    since = {"startTime": int(log.since.timestamp()) * 1000} if log.since else {}
    for event in aws.pages("logs", "filter_log_events", "events", logGroupName=log.group, **since):
        # The readers of a cluster write into the same group, and recover too.
        if log.stream is None or event.get("logStreamName", "").split(".")[0] == log.stream:
            yield from event.get("message", "").split("\n")
