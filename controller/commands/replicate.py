"""replicate: join the restored copy to the source at the exact LSN, and follow until it has caught up."""

from typing import Any

import click

from encryptdb.controller.commands.arguments import APPROVED_BY, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.preflight import preflight
from encryptdb.controller.runner import advance, locked, next_step
from encryptdb.controller.state import document, state
from encryptdb.controller.steps.isolate import refuse_wrong_copy
from encryptdb.controller.steps.replicate import refuse_other_lsn
from encryptdb.stacks.contract.errors import NotYet, Refused


def run(m: Migration) -> dict[str, Any]:
    """Ends when caught up. Raises NotYet before the target is there, Refused where joining would not be safe."""
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    observed = observe(m)
    where = state(m, observed)
    if where == "open":
        return document(m, observed, None)
    if where in ("retired", "rolled-back"):
        raise Refused(f"This attempt was {where}: there is nothing to replicate.")
    if observed.target is not None and observed.target.records and observed.target.records.abandoned:
        raise Refused(
            "This attempt was abandoned: its copy can no longer be joined to the source.",
            hint="Set attempt one higher and phase to prepare in the stack's config, then begin again with pulumi up.",
        )
    if observed.source is None or not observed.source.records:
        raise NotYet(
            "The source is not prepared.",
            hint=f"Run python -m controller prepare --stack {m.outputs.stack} first: the snapshot must come after it.",
        )
    refuse_wrong_copy(m, observed)
    refuse_other_lsn(m, observed)
    if where == "restored":
        # Before the sides are joined; what comes up later is for status, and for the checks of cutover.
        preflight(m).raise_if_blocked()
    with locked(m, target=True) as lock:
        observed = advance(m, "replicate", observe(m), lock)
    following = next_step(m, observed)
    m.say("the target has caught up, and follows")
    return document(m, observed, following.name if following else None)


command = stack_command(
    run,
    click.Option(["--lsn"], metavar="X/Y", help="The exact LSN by hand; it is checked like a found one."),
    APPROVED_BY,
)
