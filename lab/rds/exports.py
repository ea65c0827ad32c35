"""What RDS puts into CloudWatch: the server's log, where its export is on, and storage metrics."""

import datetime
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.rds.models import RDSBackend

from encryptdb.lab.plane import Host, Plane
from encryptdb.lab.rds.models import LabInstance
from encryptdb.lab.rds.transitions import LOCK

log = logging.getLogger(__name__)

LOGS_EVERY = 1.0
METRICS_EVERY = 20.0
"""Seconds."""
STAMP = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC:")
BATCH = 1000


class Exports:
    """A thread that looks at every instance once a second."""

    def __init__(self, plane: Plane, backend: Callable[[], RDSBackend]) -> None:
        self._plane, self._backend = plane, backend
        self._measured = 0.0

    def start(self) -> None:
        threading.Thread(target=self._run, name="exports", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(LOGS_EVERY)
            try:
                self._look()
            except Exception:  # the next look is a second away, and a log that is not exported must not end the lab
                log.exception("exports")

    def _look(self) -> None:
        with LOCK:
            seen = [
                (d.db_instance_identifier, list(d.enabled_cloudwatch_logs_exports), d, host)
                for d in self._backend().databases.values()
                if isinstance(d, LabInstance) and d.host and (host := self._plane.hosts.get(d.dbi_resource_id))
            ]
        measure = time.monotonic() - self._measured >= METRICS_EVERY
        for identifier, exports, database, host in seen:
            if "postgresql" in exports:
                self._export(database.log_group, identifier, host)
            # A cluster's storage grows by itself: AWS has no such metric for it.
            if measure and host.cluster.postmaster() is not None and database.db_cluster_identifier is None:
                self._measure(identifier, database.allocated_storage, host)
        if measure and seen:
            self._measured = time.monotonic()

    def _export(self, group: str, identifier: str, host: Host) -> None:
        for path in host.cluster.log_files():
            offset = host.log_offsets.get(path.name, 0)
            block = _fresh(path, offset)
            if not block:
                continue
            self._put(group, f"{identifier}.0", events(block))
            host.log_offsets[path.name] = offset + len(block)

    def _put(self, group: str, stream: str, found: list[dict[str, Any]]) -> None:
        client = self._plane.clients("logs")
        for create, names in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            try:
                create(**names)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        for first in range(0, len(found), BATCH):
            client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=found[first : first + BATCH])

    def _measure(self, identifier: str, storage_gib: int, host: Host) -> None:
        used, wal = self._plane.disk_usage(host)
        dimensions = [{"Name": "DBInstanceIdentifier", "Value": identifier}]
        values = {
            "FreeStorageSpace": max(0, storage_gib * 1024**3 - used),
            "TransactionLogsDiskUsage": wal,
        }
        self._plane.clients("cloudwatch").put_metric_data(
            Namespace="AWS/RDS",
            MetricData=[
                {"MetricName": name, "Dimensions": dimensions, "Value": float(value), "Unit": "Bytes"}
                for name, value in values.items()
            ],
        )


def _fresh(path: Path, offset: int) -> bytes:
    """What was added since, up to the last whole line."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            block = file.read(1 << 20)
    except OSError:  # the instance goes away under us
        return b""
    return block[: block.rfind(b"\n") + 1]


def events(block: bytes) -> list[dict[str, Any]]:
    """Log events, one per entry: a line without a time of its own belongs to the one before it. Times in ms."""
    found: list[dict[str, Any]] = []
    for line in block.decode(errors="replace").splitlines():
        stamp = STAMP.match(line.encode())
        if stamp is None and found:
            found[-1]["message"] += "\n" + line
            continue
        moment = datetime.datetime.now(datetime.UTC)
        if stamp is not None:
            moment = datetime.datetime.fromisoformat(stamp[1].decode()).replace(tzinfo=datetime.UTC)
        found.append({"timestamp": int(moment.timestamp() * 1000), "message": line})
    return found
