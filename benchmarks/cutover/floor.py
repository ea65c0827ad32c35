"""The floor: bare SQL and PAUSE/RESUME, in the one order that works, with nothing checked, guarded or undone.

It leaks (a client on its way in, one that says READ WRITE), cannot go back and does not survive a kill: it is what the
machine needs for the mere movement, and so a measure for what the guarantees cost.
"""

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from benchmarks.cutover.stage import Load, Pooler, Seen, Size
from tests.kit.servers import Server

TERMINATE_SQL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = ANY (%s) AND pid <> ALL (%s) AND backend_type = 'client backend'
"""

SEQUENCES_SQL = """
SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences WHERE last_value IS NOT NULL
"""

SET_SQL = "SELECT setval(s::regclass, v) FROM unnest(%s::text[], %s::bigint[]) u (s, v)"


DRAIN_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """One cutover. Milliseconds."""

    pause_ms: float
    steps_ms: dict[str, float]
    seen: Seen
    predicted_ms: float | None = None


def pair(source: Server, copied_to: Path, names: list[str]) -> Server:
    """Copy `source` and let the copy follow it from the snapshot's exact LSN."""
    for name in names:
        source.sql("CREATE PUBLICATION floor FOR ALL TABLES", database=name)
        source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"floor_{name}"], name)
    target = source.freeze_copy(copied_to)
    target.start()
    end = target.recovery_end()
    for name in names:
        slot = f"floor_{name}"
        target.sql("SELECT pg_drop_replication_slot(%s)", [slot], name)
        conninfo = f"host=127.0.0.1 port={source.port} user=postgres dbname={name}"
        target.sql(
            f"CREATE SUBSCRIPTION {slot} CONNECTION '{conninfo}' PUBLICATION floor "
            f"WITH (copy_data = false, create_slot = false, enabled = false, slot_name = '{slot}')",
            database=name,
        )
        target.sql(
            "SELECT pg_replication_origin_advance('pg_' || oid, %s::pg_lsn) FROM pg_subscription WHERE subname = %s",
            [end, slot],
            name,
        )
        target.sql(f"ALTER SUBSCRIPTION {slot} ENABLE", database=name)
    return target


def cut_over(base: Server, where: Path, size: Size, *, lead: float, seconds: float) -> Run:
    """One cutover on servers of its own, `lead` seconds after the load began."""
    source = base.copy_of_files(where / "source").start()
    try:
        target = pair(source, where / "target", size.names)
        try:
            pooler = Pooler(where, source, size.names)
            try:
                return _cut_over(source, target, pooler, where, size, lead=lead, seconds=seconds)
            finally:
                pooler.stop()
        finally:
            target.stop("immediate")
    finally:
        source.stop("immediate")


def _cut_over(
    source: Server, target: Server, pooler: Pooler, where: Path, size: Size, *, lead: float, seconds: float
) -> Run:
    leaving = {name: source.connect(name) for name in size.names}
    arriving = {name: target.connect(name) for name in size.names}
    ours = [db.info.backend_pid for db in leaving.values()]
    any_ = next(iter(leaving.values()))
    load = Load(where, source, pooler, size, seconds)
    time.sleep(lead)

    clock = [("begin", time.perf_counter())]

    def done(step: str) -> None:
        clock.append((step, time.perf_counter()))

    pooler.admin.execute("PAUSE")
    done("pause")
    for name in size.names:
        any_.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name)))
    any_.execute(TERMINATE_SQL, [size.names, ours])
    done("fence")
    for db in leaving.values():
        db.execute("UPDATE marker SET n = n + 1")
    done("mark")
    for name, db in arriving.items():
        while db.execute("SELECT n FROM marker").fetchone() == (0,):
            assert time.perf_counter() - clock[0][1] < DRAIN_SECONDS, f"waited in vain for the marker in {name}"
            time.sleep(0.001)
    done("drain")
    for name in size.names:
        values = leaving[name].execute(SEQUENCES_SQL).fetchall()
        arriving[name].execute(SET_SQL, [[v[0] for v in values], [v[1] for v in values]])
    done("sequences")
    for name, db in arriving.items():
        db.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(f"floor_{name}")))
    done("open")
    pooler.point_to(target)
    pooler.admin.execute("RELOAD")
    pooler.admin.execute("RESUME")
    done("switch")

    assert load.runs, "the load ended before the cutover did: give it more seconds"
    for db in (*leaving.values(), *arriving.values()):
        db.close()
    seen = load.end(target)
    steps = {b[0]: round(1000 * (b[1] - a[1]), 1) for a, b in itertools.pairwise(clock)}
    return Run(round(1000 * (clock[-1][1] - clock[0][1]), 1), steps, seen)
