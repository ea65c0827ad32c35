"""The server log of the restored instance: through the RDS API, and through CloudWatch Logs where it is gone there.

RDS keeps a log file for three days at most; an exported log stays in its group. Both are read line by line and no
further than the end of the first recovery, so a large log costs neither memory nor time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.aws import Aws
from controller.errors import Problem
from controller.exact_lsn.log_lines import Recovery, first_recovery

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


def read_first_recovery(aws: Aws, identifier: str, created: datetime | None) -> LogReading:
    """Look through the RDS log files, then through CloudWatch. Never raises a Problem: a log that cannot be read is
    one witness less, and the reading says why. `created` is the instance's InstanceCreateTime."""
    said: list[str] = []
    sources: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
        ("the RDS log files", lambda: _files(aws, identifier, created)),
        (f"the log group {group_name(identifier)}", lambda: _group(aws, identifier, created)),
    )
    for where, lines in sources:
        try:
            found = first_recovery(lines(), created)
        except Problem as problem:
            said.append(f"{where}: {problem.message} {problem.detail or ''}".strip())
            continue
        if found is not None and (found.lines or found.clean):
            return LogReading(found, where)
        said.append(f"{where}: no recovery is in it")
    return LogReading(None, "", "; ".join(said))


def group_name(identifier: str) -> str:
    """The CloudWatch log group of an instance's exported PostgreSQL log."""
    return f"/aws/rds/instance/{identifier}/postgresql"


def _files(aws: Aws, identifier: str, created: datetime | None) -> Iterator[str]:
    wanted = {"DBInstanceIdentifier": identifier, "FilenameContains": "postgres"}
    listed = aws.pages("rds", "describe_db_log_files", "DescribeDBLogFiles", **wanted)
    # LastWritten is in milliseconds. A file last written before the instance was made is the source's.
    oldest = created.timestamp() * 1000 - 1000 if created else 0
    files = [f for f in listed if int(f.get("LastWritten") or 0) >= oldest or not f.get("LastWritten")]
    for file in sorted(files, key=lambda f: (int(f.get("LastWritten") or 0), f["LogFileName"])):
        yield from _file(aws, identifier, file["LogFileName"])


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


def _group(aws: Aws, identifier: str, created: datetime | None) -> Iterator[str]:
    since = {"startTime": int(created.timestamp()) * 1000} if created else {}
    for event in aws.pages("logs", "filter_log_events", "events", logGroupName=group_name(identifier), **since):
        yield from event.get("message", "").split("\n")
