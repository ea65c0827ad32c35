"""report: one self-contained HTML file of what was done and what proves it."""

from typing import Any

from encryptdb.controller import report
from encryptdb.controller.commands.arguments import REPORT, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe


def run(m: Migration) -> dict[str, Any]:
    """Writes in any state, also where a side is unavailable: the report says so. Raises Usage where it cannot write."""
    observed = observe(m)
    path = report.write(m, report.collect(m, observed))
    m.say(f"the report is {path}")
    return document(m, observed, report=path)


command = stack_command(run, REPORT)
