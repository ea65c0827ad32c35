"""prepare: make the source ready for its snapshot."""

from typing import Any

from controller import control
from controller.errors import Refused
from controller.migration import Migration
from controller.observe import observe
from controller.preflight import preflight
from controller.runner import advance, locked, next_step
from controller.station import document, station
from controller.steps import parameters, prepare


def run(m: Migration) -> dict[str, Any]:
    """Raises Refused for a blocking finding of preflight, NotYet where a reboot is needed and not allowed."""
    state = observe(m, with_mark=True)
    where = station(m, state)
    if where in ("retired", "abandoned"):
        raise Refused(
            f"This attempt was {where}.",
            detail=f"The stack {m.outputs.stack} stands at attempt {m.outputs.attempt}, which has ended.",
            hint="To migrate again: set attempt one higher and phase to prepare in the stack's config, pulumi up, "
            "then run this.",
        )
    if where in ("open", "rolled-back"):
        return document(m, state, None)
    prepare.refuse_another_attempt(m, state)
    # Before anything is made: what stands in the way, all at once, and whether the reboot is allowed.
    preflight(m).raise_if_blocked()
    parameters.refuse_reboot_without_leave(m, state)
    control.create(m.source)
    with locked(m) as lock:
        state = advance(m, "prepare", observe(m, with_mark=True), lock)
    following = next_step(m, state)
    m.say("the source is prepared: set phase to restore and run pulumi up")
    return document(m, state, following.name if following else None)
