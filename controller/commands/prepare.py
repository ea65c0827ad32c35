"""prepare: make the source ready for its snapshot."""

from typing import Any

from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import control
from encryptdb.controller.preflight import preflight
from encryptdb.controller.runner import advance, locked, next_step
from encryptdb.controller.state import document, state
from encryptdb.controller.steps import parameters, prepare
from encryptdb.stacks.contract.errors import Refused


def run(m: Migration) -> dict[str, Any]:
    """Raises Refused for a blocking finding of preflight, NotYet where a reboot is needed and not allowed."""
    observed = observe(m, with_parameter=True)
    where = state(m, observed)
    if where in ("retired", "abandoned"):
        raise Refused(
            f"This attempt was {where}.",
            detail=f"The stack {m.outputs.stack} stands at attempt {m.outputs.attempt}, which has ended.",
            hint="To migrate again: set attempt one higher and phase to prepare in the stack's config, pulumi up, "
            "then run this.",
        )
    if where in ("open", "rolled-back"):
        return document(m, observed, None)
    prepare.refuse_another_attempt(m, observed)
    # Before anything is made: what stands in the way, all at once, and whether the reboot is allowed.
    preflight(m).raise_if_blocked()
    parameters.refuse_reboot_without_leave(m, observed)
    control.create(m.source)
    with locked(m) as lock:
        observed = advance(m, "prepare", observe(m, with_parameter=True), lock)
    following = next_step(m, observed)
    m.say("the source is prepared: set phase to restore and run pulumi up")
    return document(m, observed, following.name if following else None)


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
