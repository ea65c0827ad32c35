"""replicate: join the restored copy to the source at the exact LSN, and follow until it has caught up."""

from typing import Any

from controller.errors import NotYet, Refused
from controller.migration import Migration
from controller.observe import observe
from controller.preflight import preflight
from controller.runner import advance, locked, next_step
from controller.station import document, station
from controller.steps.copy import refuse_wrong_copy
from controller.steps.replicate import refuse_other_lsn


def run(m: Migration) -> dict[str, Any]:
    """Ends when caught up. Raises NotYet before the target is there, Refused where joining would not be safe."""
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    state = observe(m)
    where = station(m, state)
    if where == "open":
        return document(m, state, None)
    if where in ("retired", "rolled-back"):
        raise Refused(f"This attempt was {where}: there is nothing to replicate.")
    if state.target is not None and "abandoned" in (state.target.records or {}):
        raise Refused(
            "This attempt was abandoned: its copy can no longer be joined to the source.",
            hint="Set attempt one higher and phase to prepare in the stack's config, then begin again with pulumi up.",
        )
    if state.source is None or not state.source.records:
        raise NotYet(
            "The source is not prepared.",
            hint=f"Run python -m controller prepare --stack {m.outputs.stack} first: the snapshot must come after it.",
        )
    refuse_wrong_copy(m, state)
    refuse_other_lsn(m, state)
    if where == "restored":
        # Before the sides are joined; what comes up later is for status, and for the checks of cutover.
        preflight(m).raise_if_blocked()
    with locked(m, target=True) as lock:
        state = advance(m, "replicate", observe(m), lock)
    following = next_step(m, state)
    m.say("the target has caught up, and follows")
    return document(m, state, following.name if following else None)
