"""Every problem at once, before anything is touched: what was found, what is needed, and the remedy to paste.

`checks` has the definitions by subject, `facts` and `read` what they decide on, `report` the outcome. Nothing is
changed on any server: privileges are probed in transactions that are rolled back.
"""

from typing import Any

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.preflight.checks import CHECKS
from encryptdb.controller.preflight.facts import Reading, Stage, stage
from encryptdb.controller.preflight.read import read
from encryptdb.controller.preflight.report import Report, evaluate
from encryptdb.controller.state import decide


def preflight(m: Migration, observed: Observed) -> Report:
    """Make every check that applies, on what was observed and what they read besides. What is unavailable is a finding;
    `observe(m, partial=True)` leaves it to be one."""
    now = stage(m.outputs, decide(m.outputs, m.names, observed).state)
    checks = [c for c in CHECKS if c.applies(now) and "online" in c.strategies]
    reads: dict[str, dict[Reading[Any], None]] = {}
    for check in checks:
        for reading in check.reads:
            for key in ("migration",) if reading.per == "migration" else check.sides:
                reads.setdefault(key, {})[reading] = None
    if now == Stage.OPEN:
        reads.pop("source", None)
    return evaluate(read(m, observed, now, reads), checks)
