"""The server's log as RDS shows it: DescribeDBLogFiles and DownloadDBLogFilePortion, over the real files."""

from pathlib import Path
from typing import Any

from moto.rds.exceptions import InvalidParameterValue, RDSClientError

from encryptdb.lab.rds.groups import Groups

PORTION = 1 << 20
"""Bytes: RDS gives at most 1 MB at a call."""
LINES = 10_000


class Logs(Groups):
    """Reading server logs."""

    __module__ = "moto.rds.models"

    def log_files(self, identifier: str, contains: str = "", since_ms: int = 0, least: int = 0) -> list[dict[str, Any]]:
        """The instance's log files, oldest first: name, time of the last write (ms since the epoch), bytes."""
        found = []
        for path in self._paths(identifier):
            stat = path.stat()
            written = int(stat.st_mtime * 1000)
            if contains in _name(path) and written >= since_ms and stat.st_size >= least:
                found.append({"LogFileName": _name(path), "LastWritten": written, "Size": stat.st_size})
        return found

    def log_portion(self, identifier: str, name: str, marker: str | None, lines: int | None) -> tuple[str, str, bool]:
        """(text, next marker, whether more is there).

        A marker is a byte offset; "0" is the beginning. Without one the last `lines` lines are given, as on RDS.
        """
        path = next((p for p in self._paths(identifier) if _name(p) == name), None)
        if path is None:
            raise RDSClientError("DBLogFileNotFoundFault", f"DBLog File: {name}, is not found on the DB instance")
        if marker is not None and not marker.isdigit():
            raise InvalidParameterValue(f"Invalid marker: {marker}")
        with path.open("rb") as file:
            if marker is None:
                tail = file.read().splitlines(keepends=True)[-(lines or LINES) :]
                portion = b"".join(tail)[-PORTION:]
                return portion.decode(errors="replace"), str(file.tell()), False
            file.seek(int(marker))
            portion = _whole(file.read(PORTION), lines or LINES)
            end = int(marker) + len(portion)
            more = end < path.stat().st_size
        return portion.decode(errors="replace"), str(end), more

    def _paths(self, identifier: str) -> list[Path]:
        host = self.plane.hosts.get(self.instance(identifier).dbi_resource_id)
        return host.cluster.log_files() if host is not None and host.address else []


def _name(path: Path) -> str:
    return f"error/{path.name}"


def _whole(block: bytes, lines: int) -> bytes:
    """At most `lines` lines, cut after a line end where there is one, so that no line or character is torn."""
    parts = block.splitlines(keepends=True)[:lines]
    if len(parts) > 1 and not parts[-1].endswith(b"\n"):
        parts.pop()
    return b"".join(parts)
