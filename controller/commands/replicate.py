"""replicate: join the restored copy to the source at the exact LSN, and follow until it has caught up."""

from typing import Any

import click

from encryptdb.controller.commands.arguments import APPROVED_BY, ExactLsn, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.preflight import preflight
from encryptdb.controller.runner import advance, begin, locked
from encryptdb.controller.state import State
from encryptdb.controller.steps.isolate import refuse_wrong_copy
from encryptdb.controller.steps.replicate import refuse_other_lsn


def run(m: Migration) -> dict[str, Any]:
    """Ends when caught up. Raises NotYet before the target is there, Refused where joining would not be safe."""
    begun = begin(m, "replicate")
    if begun.done:
        return document(m, begun.observed)
    refuse_wrong_copy(m, begun.observed)
    refuse_other_lsn(m, begun.observed)
    if begun.standing.state is State.RESTORED:
        # Before the sides are joined; what comes up later is for status, and for the checks of cutover.
        preflight(m, begun.observed).raise_if_blocked()
    with locked(m, "source", "target") as locks:
        observed = advance(m, "replicate", locks)
    m.say("the target has caught up and follows the source")
    return document(m, observed)


command = stack_command(
    run,
    click.Option(
        ["--lsn"], type=ExactLsn(), metavar="X/Y", help="The exact LSN by hand; it is checked like a found one."
    ),
    APPROVED_BY,
)
