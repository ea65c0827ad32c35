"""report: one self-contained HTML file of what was done and what proves it."""

from typing import Any

from controller import report
from controller.errors import Problem
from controller.migration import Migration
from controller.observe import observe
from controller.station import document


def run(m: Migration) -> dict[str, Any]:
    """Writes at any station, also where a side is silent: the report says so. Raises Usage where it cannot write."""
    try:
        state = observe(m, with_mark=True)
    except Problem as problem:
        # What can be read is read side by side below; the rest becomes part of the report.
        m.say(f"not everything can be read: {problem.message}")
        state = None
    path = report.write(m, report.collect(m, state))
    m.say(f"the report is {path}")
    base = document(m, state, None) if state is not None else {"station": None, "step": None, "databases": {}}
    return base | {"report": path}
