"""abandon: while the source serves (before OPEN, or after a rollback), the source exactly as it was before prepare."""

from dataclasses import replace
from typing import Any

from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.postgres import control, watchdog
from encryptdb.controller.records import Abandoned
from encryptdb.controller.runner import begin, locked, undo
from encryptdb.controller.state import State
from encryptdb.stacks.cloud import prepared_parameter
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.names import Ending


def run(m: Migration) -> dict[str, Any]:
    """Undo everything on the source, last step first. Raises Refused after OPEN.

    A copy that does not answer does not keep the source from being freed: the source alone proves that it serves.
    """
    begun = begin(m, "abandon")
    observed = begun.observed
    if begun.done:
        return document(m, observed)
    if observed.source is None or observed.source.records is None:
        # Nothing of ours is on the source; only the prepared parameter may be left of an interrupted abandon.
        prepared_parameter.delete(m.aws, m.outputs.stack)
        m.say("nothing of encryptdb is on the source")
        return document(m, observe(m))
    if observed.target is None and m.target is not None:
        m.say(f"going on without the copy: {observed.target_problem}")
        m = replace(m, target=None)
    with locked(m, "source", "target") as locks:
        watchdog.restore_leftover(m.source)
        record(m, observed)
        undo(m, locks)
    m.say("the source is as it was before prepare")
    after = observe(m)
    return document(m, after, **({"state": State.ABANDONED} if m.target is None else {}), left=_left(m))


def record(m: Migration, observed: Observed) -> None:
    """The decision, before anything is undone: from here on this attempt cannot be cut over any more."""
    found = Abandoned(m.outputs.attempt, observed.at, m.approved_by)
    control.write(m.source, found)
    if m.target is not None and observed.target is not None and observed.target.records is not None:
        control.write(m.target, found)
    if m.outputs.target is not None:
        try:
            m.engine.tag_ending(m.outputs.target.identifier, Ending.ABANDONED)
        except Problem as problem:
            m.say(f"the copy could not be tagged as abandoned: {problem.message} {problem.detail or ''}")


def _left(m: Migration) -> list[str]:
    """What remains, for the operator to remove when it pleases them."""
    if m.outputs.target is None:
        return []
    return [
        f"The encrypted copy {m.outputs.target.identifier} stays as it is, closed to applications: delete it when "
        "nobody needs it any more (docs/stack.md says how).",
    ]


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
