"""run: does the next steps as far as they may go without approval, and says what it waits for."""

from typing import Any

from controller.commands import prepare, replicate
from controller.errors import NotYet
from controller.migration import Migration
from controller.observe import observe
from controller.runner import next_step
from controller.station import document, station


def run(m: Migration) -> dict[str, Any]:
    """Ends with status 0 where only an approval is missing; raises NotYet where Pulumi's turn comes first."""
    state = observe(m, with_mark=True)
    following = next_step(m, state)
    if following is not None and following.command == "prepare" and station(m, state) is None:
        prepare.run(m)
        state = observe(m, with_mark=True)
        following = next_step(m, state)
    if following is not None and following.command == "replicate" and "open" not in state.records:
        if m.target is None:
            raise NotYet(
                "The source is prepared; the target comes next, and Pulumi makes it.",
                detail=f"The stack {m.outputs.stack} is in phase {m.outputs.phase}.",
                hint="Set phase to restore in the stack's config, pulumi up, then run this again.",
            )
        replicate.run(m)
        state = observe(m, with_mark=True)
        following = next_step(m, state)
    waits_for = None
    if following is not None and following.command == "cutover":
        waits_for = f"approval: python -m controller cutover --stack {m.outputs.stack}"
    elif following is not None and following.command == "retire":
        waits_for = (
            f"the end of the rollback window ({m.outputs.rollback_window}): "
            f"python -m controller retire --stack {m.outputs.stack}"
        )
    if waits_for:
        m.say(f"waiting for {waits_for}")
    return document(m, state, following.name if following else None) | {"waits_for": waits_for}
