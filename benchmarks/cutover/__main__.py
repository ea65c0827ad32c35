"""How long a cutover holds applications, in milliseconds and as a multiple of the floor under it on this machine.

Floor and product take turns in one run, on copies of the same servers, with pgbench's clients at full speed through
PgBouncer. Every commit that was acknowledged to a client is looked for on the side that it ended on.

    python -m benchmarks.cutover [--runs 5] [--databases 1] [--sequences 200] [--clients 16] [--json]

Exit status 0 if the ratio is at most 3 and nothing failed, was lost or was repeated; 1 if not.
"""

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cutover import floor, ours
from benchmarks.cutover.floor import Run
from benchmarks.cutover.stage import Size, base, measured_on
from tests.kit.servers import Server, newest_system, room, wheel

GOAL_RATIO = 3.0


def main() -> int:
    """Measure, print, and tell by the exit status whether the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cutover", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="cutovers of each kind (default 5)")
    parser.add_argument("--databases", type=int, default=1)
    parser.add_argument("--sequences", type=int, default=200, help="in each database (default 200)")
    parser.add_argument("--clients", type=int, default=16, help="in all (default 16)")
    parser.add_argument("--scale", type=int, default=20, help="pgbench's, in all (default 20)")
    parser.add_argument("--seconds", type=float, help="of load around each cutover (default: enough)")
    parser.add_argument("--pg-bin", type=Path, help="PostgreSQL's programs (default: the newest on this machine)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    size = Size(
        arguments.clients, arguments.databases, arguments.sequences, max(1, arguments.scale // arguments.databases)
    )
    # The servers of the measurement have no certificates.
    os.environ["PGSSLMODE"] = "disable"
    # What comes before the pause takes longer for many databases and sequences, and the load must outlast it.
    seconds = arguments.seconds or 10.0 + 4.0 * (size.databases - 1) + size.sequences * size.databases / 250
    # Told to end, it takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    floors: list[Run] = []
    runs: list[Run] = []
    with room() as where:
        blank = Server(arguments.pg_bin or newest_system() or wheel(where), where / "blank").create()
        made = base(blank, where / "base", size)
        for number in range(arguments.runs):
            for kind, kept in ((floor, floors), (ours, runs)):
                with measured_on(where / f"{kind.__name__}-{number}") as there:
                    kept.append(kind.cut_over(made, there, size, lead=2.0, seconds=seconds))
                say(f"{number + 1}/{arguments.runs} {kind.__name__.split('.')[-1]}: {kept[-1]}")
    result = summary(size, floors, runs)
    print(json.dumps(result) if arguments.json else words(result))
    return 0 if result["met"] else 1


def summary(size: Size, floors: Sequence[Run], runs: Sequence[Run]) -> dict[str, Any]:
    """Medians, and sums of what must be zero (the floor's failures are its own)."""
    pause, least = statistics.median(r.pause_ms for r in runs), statistics.median(r.pause_ms for r in floors)
    off = [abs(r.predicted_ms - r.pause_ms) / r.pause_ms for r in runs if r.predicted_ms is not None]
    result = {
        "pause_ms": round(pause, 1),
        "floor_ms": round(least, 1),
        "ratio": round(pause / least, 2),
        "goal_ratio": GOAL_RATIO,
        "failed": sum(r.seen.failed for r in runs),
        "lost": sum(r.seen.lost for r in runs),
        "repeated": sum(r.seen.repeated for r in runs),
        "worst_latency_ms": round(statistics.median(r.seen.worst_latency_ms for r in runs), 1),
        "floor_worst_latency_ms": round(statistics.median(r.seen.worst_latency_ms for r in floors), 1),
        "predicted_ms": round(statistics.median(r.predicted_ms or 0.0 for r in runs), 1),
        "prediction_off_by": round(statistics.median(off), 2),
        "steps_ms": medians(runs),
        "floor_steps_ms": medians(floors),
        "transactions": sum(r.seen.transactions for r in runs),
        "runs": len(runs),
        "size": asdict(size),
    }
    zero = result["failed"] == result["lost"] == result["repeated"] == 0
    return result | {"met": zero and pause / least <= GOAL_RATIO}


def medians(runs: Sequence[Run]) -> dict[str, float]:
    return {step: round(statistics.median(r.steps_ms[step] for r in runs), 1) for step in runs[0].steps_ms}


def words(result: dict[str, Any]) -> str:
    size = result["size"]
    return "\n".join(
        [
            f"{result['runs']} cutovers of {size['databases']} database(s) with {size['sequences']} sequences each, "
            f"{size['clients']} clients:",
            f"  pause {result['pause_ms']} ms, floor {result['floor_ms']} ms, ratio {result['ratio']} "
            f"(goal: at most {result['goal_ratio']:g})",
            f"  failed {result['failed']}, lost {result['lost']}, repeated {result['repeated']} "
            f"of {result['transactions']} transactions",
            f"  slowest transaction {result['worst_latency_ms']} ms, on the floor {result['floor_worst_latency_ms']}",
            f"  predicted by --dry-run {result['predicted_ms']} ms, off by {result['prediction_off_by']:.0%}",
            f"  ours:  {result['steps_ms']}",
            f"  floor: {result['floor_steps_ms']}",
        ]
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
