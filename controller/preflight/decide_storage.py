"""Decisions about replicas, readers and storage: what does not move by itself, and whether WAL fits meanwhile."""

from collections.abc import Iterator

from encryptdb.controller.preflight.facts import Facts
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import duration, listed, size

SNAPSHOT_BYTES_PER_SECOND = 200 << 20
SNAPSHOT_FIXED_SECONDS = 600
"""The best case for snapshot, encrypted copy and restore: faster than anything AWS promises. WAL is kept at least
so long, so storage that does not last for it cannot be enough."""

COMFORTABLE_SECONDS = 24 * 3600
"""Storage that does not last this long at the present rate is worth a warning."""


def replicas(facts: Facts) -> Iterator[Finding]:
    source = facts.cloud.source if facts.cloud else None
    if source is None:
        return
    if source.read_replicas:
        yield Finding(
            "warns",
            found=f"Read replicas: {listed(source.read_replicas)}.",
            needed="New replicas of the target before readers move: these follow the source, stay unencrypted, and "
            "fall silent with it.",
            remedy=f"{facts.words.replica} after the restore",
            side="source",
        )


def readers(facts: Facts) -> Iterator[Finding]:
    """The readers inside of a cluster move along, as new ones on the target."""
    cloud = facts.cloud
    if cloud is None or cloud.source is None or cloud.target is None:
        return
    here, there = len(cloud.source.readers), len(cloud.target.readers)
    if there < here:
        yield Finding(
            "warns",
            found=f"The target has {there} readers, the source has {here}.",
            needed="As many, if applications read there: the reader endpoint of the target has to bear their load.",
            remedy=f"aws rds create-db-instance --db-cluster-identifier {cloud.target.identifier} … for each, "
            "before the cutover",
            side="target",
        )


def storage(facts: Facts) -> Iterator[Finding]:
    """From prepare until the target has caught up, the source keeps all WAL it writes."""
    source, cloud = facts.source, facts.cloud
    if source is None:
        return
    rate = source.wal.rate
    shortest = sum(d.bytes for d in source.databases) / SNAPSHOT_BYTES_PER_SECOND + SNAPSHOT_FIXED_SECONDS
    rooms: list[tuple[int, str, str]] = []
    keep = int(source.settings["max_slot_wal_keep_size"])
    if keep >= 0:
        rooms.append(
            (
                keep << 20,
                f"max_slot_wal_keep_size = {keep} MB; beyond that the slots are invalidated, and all begins anew",
                "Raise max_slot_wal_keep_size in the parameter group (-1: no limit of its own).",
            )
        )
    if cloud is not None and cloud.source is not None:
        if cloud.free_bytes is not None:
            growth = max(0, (cloud.source.max_allocated_bytes or 0) - cloud.source.allocated_bytes)
            text = f"{size(cloud.free_bytes)} free" + (f", and {size(growth)} by autoscaling" if growth else "")
            rooms.append(
                (
                    cloud.free_bytes + growth,
                    f"{text}; when storage is full the source stops",
                    f"aws rds modify-db-instance --db-instance-identifier {cloud.source.identifier} "
                    "--allocated-storage GIB (or --max-allocated-storage GIB)",
                )
            )
        elif cloud.free_unknown is not None:
            yield Finding(
                "warns",
                found=f"The free storage is not known: {cloud.free_unknown}.",
                needed=f"Room for all WAL from prepare until caught up, at {_per_second(rate)} now.",
                remedy=f"aws rds describe-db-instances --db-instance-identifier {cloud.source.identifier}, and the "
                "metric FreeStorageSpace; the permission is cloudwatch:GetMetricStatistics.",
                side="source",
            )
    for room, text, remedy in rooms:
        if rate is None:
            yield Finding(
                "warns",
                found=f"{text}. How fast WAL is written is not known: the server tells its position only once "
                "wal_level is logical.",
                needed="Room for all WAL from prepare until caught up.",
                remedy="Compare it with what the database writes in a day.",
                side="source",
            )
            continue
        lasts = room / rate if rate else float("inf")
        if lasts < COMFORTABLE_SECONDS:
            yield Finding(
                "blocks" if lasts < shortest else "warns",
                found=f"{text}. At {size(rate)}/s of WAL that is {duration(lasts)}.",
                needed=f"Room for all WAL from prepare until caught up: {duration(shortest)} at the very least, "
                f"{duration(COMFORTABLE_SECONDS)} for comfort.",
                remedy=remedy,
                side="source",
            )


def _per_second(rate: float | None) -> str:
    return "an unknown rate" if rate is None else f"{size(rate)}/s"
