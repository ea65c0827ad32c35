"""report: one self-contained HTML file of what was done and what proves it."""

from typing import Any

from encryptdb.controller import report
from encryptdb.controller.commands.arguments import REPORT, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.state import document
from encryptdb.stacks.contract.errors import Problem


def run(m: Migration) -> dict[str, Any]:
    """Writes at any state, also where a side is silent: the report says so. Raises Usage where it cannot write."""
    try:
        observed = observe(m, with_parameter=True)
    except Problem as problem:
        # What can be read is read side by side below; the rest becomes part of the report.
        m.say(f"not everything can be read: {problem.message}")
        observed = None
    path = report.write(m, report.collect(m, observed))
    m.say(f"the report is {path}")
    base = document(m, observed, None) if observed is not None else {"state": None, "step": None, "databases": {}}
    return base | {"report": path}


command = stack_command(run, REPORT)
