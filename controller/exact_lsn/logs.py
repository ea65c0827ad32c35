"""The server log of the restored copy (of a cluster: of its writer): through the RDS API, and through CloudWatch Logs
where it is gone there.

RDS keeps a log file for three days at most; an exported log stays in its group. Both are read line by line and no
further than the end of the first recovery, so a large log costs neither memory nor time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.engines import Log
from encryptdb.controller.exact_lsn.log_lines import Recovery, first_recovery
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Problem

PORTION_BYTES = 1 << 20
"""What one DownloadDBLogFilePortion answers at most."""

FILE_PORTIONS = 512
"""Portions read of one file before it is given up. The first recovery stands near its beginning; what precedes it
came along from the source, and that hour's log may be large."""


@dataclass(frozen=True)
class LogReading:
    """The first recovery and where it was read, or why there is none."""

    recovery: Recovery | None
    where: str
    why_not: str | None = None


def read_first_recovery(aws: Aws, log: Log) -> LogReading:
    """Look through the RDS log files, then through CloudWatch. Never raises a Problem: a log that cannot be read is
    one candidate less, and the reading says why."""
    said: list[str] = []
    sources: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
        ("the RDS log files", lambda: _files(aws, log)),
        (f"the log group {log.group}", lambda: _group(aws, log)),
    )
    for where, lines in sources:
        try:
            found = first_recovery(lines(), log.since)
        except Problem as problem:
            said.append(f"{where}: {problem.message} {problem.detail or ''}".strip())
            continue
        if found is not None and (found.lines or found.clean):
            return LogReading(found, where)
        said.append(f"{where}: no recovery is in it")
    return LogReading(None, "", "; ".join(said))


def _files(aws: Aws, log: Log) -> Iterator[str]:
    wanted = {"DBInstanceIdentifier": log.instance, "FilenameContains": "postgres"}
    listed = aws.pages("rds", "describe_db_log_files", "DescribeDBLogFiles", **wanted)
    # LastWritten is in milliseconds. A file last written before the instance was made is the source's.
    oldest = log.since.timestamp() * 1000 - 1000 if log.since else 0
    files = [f for f in listed if int(f.get("LastWritten") or 0) >= oldest or not f.get("LastWritten")]
    for file in sorted(files, key=lambda f: (int(f.get("LastWritten") or 0), f["LogFileName"])):
        yield from _file(aws, log.instance, file["LogFileName"])


def _file(aws: Aws, identifier: str, name: str) -> Iterator[str]:
    marker, rest = "0", ""
    for _ in range(FILE_PORTIONS):
        answer: dict[str, Any] = aws.call(
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
