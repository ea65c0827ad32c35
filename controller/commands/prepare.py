"""prepare: make the source ready for its snapshot."""

from typing import Any

from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import control
from encryptdb.controller.preflight import preflight
from encryptdb.controller.runner import advance, begin, locked
from encryptdb.controller.steps import parameters, prepare


def run(m: Migration) -> dict[str, Any]:
    """Raises Refused for a blocking finding of preflight, NotYet where a reboot is needed and not allowed."""
    begun = begin(m, "prepare")
    if begun.done:
        return document(m, begun.observed)
    prepare.refuse_copied_control_database(m, begun.observed)
    # Before anything is made: everything that prevents it, at once, and whether the reboot is allowed.
    preflight(m, begun.observed).raise_if_blocked()
    parameters.refuse_reboot_without_leave(m, begun.observed)
    control.create(m.source)
    with locked(m, "source") as locks:
        observed = advance(m, "prepare", locks)
    m.say("the source is prepared")
    return document(m, observed)


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
