"""Storage: from prepare until the target has caught up, the source keeps all WAL that it writes."""

from dataclasses import dataclass

from encryptdb.controller.migration import Migration
from encryptdb.controller.preflight.check import Findings, blocks, check, migration, warns
from encryptdb.controller.preflight.checks.cloud import CLOUD
from encryptdb.controller.preflight.facts import Facts, Reading
from encryptdb.controller.preflight.read import optional
from encryptdb.controller.preflight.text import duration, size

SNAPSHOT_BYTES_PER_SECOND = 200 << 20
SNAPSHOT_FIXED_SECONDS = 600
"""The best case for snapshot, encrypted copy and restore, faster than anything AWS promises. WAL is kept at least as
long, so storage that does not last for it cannot be enough."""

COMFORTABLE_SECONDS = 24 * 3600
"""Storage that lasts less than this at the present rate is worth a warning."""

SAMPLE_SECONDS = 1.0
"""How long the rate of WAL is measured, while the rest is read."""

POSITION_SQL = """
-- Where WAL is written (or replayed, on a replica) in bytes, and the server's clock in seconds. Aurora gives no
-- position while wal_level is below logical.
SELECT ARRAY[(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
              - '0/0')::float8,
             extract(epoch FROM clock_timestamp())::float8]
"""

AVERAGE_SQL = """
-- WAL written per second since the statistics were reset (from PostgreSQL 14; not on Aurora).
SELECT (wal_bytes / GREATEST(extract(epoch FROM clock_timestamp() - stats_reset), 60))::float8 FROM pg_stat_wal
"""


@dataclass(frozen=True)
class Wal:
    """How fast WAL is written, in bytes/s: measured while preflight ran, and on average since the statistics were
    reset. None where the server has no such figure (the average below PostgreSQL 14; on Aurora, both at times)."""

    measured: float | None
    average: float | None

    @property
    def rate(self) -> float | None:
        """The greater of both: a quiet second may be part of a busy day."""
        return max((r for r in (self.measured, self.average) if r is not None), default=None)


def _measure(m: Migration) -> Wal:
    with m.source.connect("postgres") as connection, m.source.translated("postgres"):
        average = optional(connection, AVERAGE_SQL)
        began = optional(connection, POSITION_SQL)
        if began is None:
            return Wal(None, average)
        m.clock.sleep(SAMPLE_SECONDS)
        ended = optional(connection, POSITION_SQL) or began
    return Wal((ended[0] - began[0]) / max(ended[1] - began[1], 0.001), average)


WAL = Reading("the rate of WAL", "migration", _measure)


@check(migration, "blocks, warns", reads=(WAL,), sides="source", stages="until OPEN")
def wal_limit(facts: Facts) -> Findings:
    """`max_slot_wal_keep_size` lasts until the target has caught up. Beyond it a slot is invalidated, and the
    migration must begin again. It must last for the best case (10 minutes and 200 MiB/s for the data), and should
    last a day, at the rate of WAL: the greater of what was measured and of the average since the statistics were
    reset."""
    assert facts.source is not None
    keep = facts.source.number("max_slot_wal_keep_size")
    if keep >= 0:
        yield from _lasts(
            facts,
            keep << 20,
            f"max_slot_wal_keep_size = {keep} MB, beyond which the slots are invalidated",
            facts.words.set_parameters(facts.group("source"), {"max_slot_wal_keep_size": -1}).replace(
                "pending-reboot", "immediate"
            ),
        )


@check(migration, "blocks, warns", reads=(WAL, CLOUD), sides="source", stages="until OPEN")
def storage(facts: Facts) -> Findings:
    """Free storage lasts until the target has caught up. CloudWatch's `FreeStorageSpace`, with what autoscaling may
    add, in time as above: a source whose storage is full stops. An Aurora volume grows by itself."""
    cloud = facts[CLOUD]
    if cloud.source is None:
        return
    if cloud.free_bytes is not None:
        growth = max(0, (cloud.source.max_allocated_bytes or 0) - cloud.source.allocated_bytes)
        yield from _lasts(
            facts,
            cloud.free_bytes + growth,
            f"{size(cloud.free_bytes)} free" + (f" and {size(growth)} by autoscaling" if growth else ""),
            f"aws rds modify-db-instance --db-instance-identifier {cloud.source.identifier} --allocated-storage GIB "
            "--apply-immediately",
        )
    elif cloud.free_unknown is not None:
        yield warns(
            f"The free storage is unknown: {cloud.free_unknown}.",
            "Room for all WAL from prepare until the target has caught up.",
            "aws cloudwatch get-metric-statistics --namespace AWS/RDS --metric-name FreeStorageSpace --dimensions "
            f"Name=DBInstanceIdentifier,Value={cloud.source.identifier} --statistics Minimum --period 300 "
            "--start-time FROM --end-time TO",
            side="source",
        )


def _lasts(facts: Facts, room: int, what: str, remedy: str) -> Findings:
    """Judge `room` in bytes by how long it lasts."""
    assert facts.source is not None
    rate = facts[WAL].rate
    shortest = sum(d.bytes for d in facts.source.observed.databases) / SNAPSHOT_BYTES_PER_SECOND
    shortest += SNAPSHOT_FIXED_SECONDS
    if rate is None:
        yield warns(
            f"{what}. The rate of WAL is not known: the server gives its position only once wal_level is logical.",
            "Room for all WAL from prepare until the target has caught up.",
            "SELECT wal_bytes, stats_reset FROM pg_stat_wal; -- or compare with what the database writes in a day",
            side="source",
        )
        return
    lasts = room / rate if rate else float("inf")
    if lasts < COMFORTABLE_SECONDS:
        yield (blocks if lasts < shortest else warns)(
            f"{what}. At {size(rate)}/s of WAL that lasts {duration(lasts)}.",
            f"Room for all WAL until the target has caught up: {duration(shortest)} at least, better "
            f"{duration(COMFORTABLE_SECONDS)}.",
            remedy,
            side="source",
        )
