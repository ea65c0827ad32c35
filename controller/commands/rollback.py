"""rollback: move the applications back to the source, without losing what was written since."""

from typing import Any

from encryptdb.controller.commands.arguments import APPROVED_BY, MAX_PAUSE, stack_command
from encryptdb.controller.cutover.conduct import roll_back
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.record_values import as_json
from encryptdb.controller.runner import begin, locked, note


def run(m: Migration) -> dict[str, Any]:
    """The same as cutover with the sides exchanged; its document is the same as well.

    Raises NotYet where nothing was cut over, Refused where there is no rollback path (any more).
    """
    begun = begin(m, "rollback")
    observed = begun.observed
    if not begun.done:
        with locked(m, "source", "target"):
            note(m, observed, "rollback begun", approved_by=m.approved_by)
            roll_back(m, observed)
        observed = observe(m)
    recorded = observed.records.rollback
    return document(m, observed, **(as_json(recorded) if recorded else {}))


command = stack_command(run, MAX_PAUSE, APPROVED_BY)
