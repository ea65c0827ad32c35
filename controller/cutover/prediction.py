"""Predicts how long a move would hold writers, without changing anything.

The sum of: the rehearsed marker, one read of the sequences, the age of running transactions (a pooler's PAUSE waits for
them), a fence and some round trips.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from encryptdb.controller.cutover import sequences
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.switches import Switch
from encryptdb.controller.waiting import Clock

ROUND_TRIPS = 25
"""Round trips in the pause, counted for one database."""

FENCE_MS = 15.0
"""Milliseconds until a server whose clients a pooler holds is empty (8 to 27 measured on two cores)."""

LOOKS, LOOK_SECONDS = 10, 0.02
"""Samples of the running transactions, and the seconds between them."""

UNDER_WAY_SQL = """
-- The age of the oldest transaction under way, in milliseconds. Long ones are the fence's, which ends them.
SELECT coalesce(1000 * max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
 WHERE datid = ANY (%s) AND backend_type = 'client backend' AND pid <> ALL (%s)
   AND xact_start > clock_timestamp() - interval '1 s'
"""


def predict(
    direction: Direction, planned: sequences.Plan, switches: Sequence[Switch], rehearsed: dict[str, float], clock: Clock
) -> dict[str, Any]:
    """The document of a dry run. `rehearsed` are the milliseconds of a marker's commit and of its arrival."""
    steps = dict(rehearsed)
    if any(switch.holds_clients for switch in switches):
        steps["pause"] = _under_way(direction, clock)
    # A session opens each sequence at its first reading; the move does that before its pause.
    sequences.read(direction, planned)
    began = clock.monotonic()
    sequences.read(direction, planned)
    steps["sequences"] = round(1000 * (clock.monotonic() - began), 1)
    began = clock.monotonic()
    for _ in range(ROUND_TRIPS):
        direction.from_.execute("SELECT")
    steps["other"] = round(1000 * (clock.monotonic() - began) + FENCE_MS, 1)
    return {
        "dry_run": True,
        "predicted_pause_ms": round(sum(steps.values()), 1),
        "steps_ms": steps,
        "switches": [s.name for s in switches],
    }


def _under_way(direction: Direction, clock: Clock) -> float:
    ages = []
    for _ in range(LOOKS):
        ours = [*direction.from_.pids(), 0]
        ages.append(float(direction.from_.value(UNDER_WAY_SQL, [[d.oid for d in direction.databases], ours])))
        clock.sleep(LOOK_SECONDS)
    return round(statistics.median(ages), 1)
