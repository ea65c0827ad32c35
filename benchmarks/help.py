"""How long `python -m controller --help` takes: absolute, and as a multiple of an interpreter that does nothing.

An operator at 3 a.m. asks for help first, and a pipeline starts the controller once a step. The goal is under 0.2 s.

    python -m benchmarks.help [--runs 7] [--json]

Exit status 0 if the median is under the goal, 1 if not.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

GOAL_SECONDS = 0.2
ROOT = Path(__file__).resolve().parent.parent


def measure(command: Sequence[str], runs: int) -> float:
    """The median wall-clock time of `command` in seconds, after one run that warms the file cache."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> int:
    """Measure, print, and tell by the exit status whether the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.help", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    nothing = measure([sys.executable, "-c", "pass"], arguments.runs)
    controller_help = measure([sys.executable, "-m", "controller", "--help"], arguments.runs)
    result = {
        "seconds": round(controller_help, 3),
        "interpreter_seconds": round(nothing, 3),
        "ratio": round(controller_help / nothing, 1),
        "goal_seconds": GOAL_SECONDS,
        "met": controller_help < GOAL_SECONDS,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"python -m controller --help: {result['seconds']} s, {result['ratio']} times an empty interpreter "
            f"({result['interpreter_seconds']} s); goal: under {GOAL_SECONDS} s"
        )
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
