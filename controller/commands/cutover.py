"""cutover: move the applications to the target. Running it is the approval."""

from typing import Any

import click

from encryptdb.controller.commands.arguments import APPROVED_BY, MAX_PAUSE, stack_command
from encryptdb.controller.cutover.conduct import dry_run
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.record_values import as_json
from encryptdb.controller.runner import advance, begin, locked, note


def run(m: Migration) -> dict[str, Any]:
    """Its document has pause_ms, steps_ms, end_lsns. Run again it returns the same one, or completes what was
    interrupted.

    Raises NotYet before the target has caught up, Refused where going on would not be safe, Failed where it broke off.
    """
    begun = begin(m, "cutover")
    observed = begun.observed
    if not begun.done:
        with locked(m, "source", "target") as locks:
            if m.options.dry_run:
                return document(m, observed, **dry_run(m, observed))
            note(m, observed, "cutover begun", approved_by=m.approved_by)
            observed = advance(m, "cutover", locks)
    recorded = observed.records.cutover
    return document(m, observed, **(as_json(recorded) if recorded else {}))


command = stack_command(
    run,
    MAX_PAUSE,
    click.Option(["--dry-run"], is_flag=True, help="Do all checks and probes; change nothing."),
    APPROVED_BY,
)
