"""abandon: while the source serves (before OPEN, or after a rollback), the source exactly as it was before prepare."""

from dataclasses import replace
from typing import Any

from encryptdb.controller import prepared_parameter
from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, ObservedServer, observe
from encryptdb.controller.plan import PLAN
from encryptdb.controller.postgres import control, watchdog
from encryptdb.controller.records import Abandoned, Records
from encryptdb.controller.runner import locked
from encryptdb.controller.state import document, state
from encryptdb.stacks.contract.errors import Problem, Refused


def run(m: Migration) -> dict[str, Any]:
    """Undo everything on the source, last step first. Raises Refused after OPEN."""
    m, observed = _look(m)
    where = state(m, observed)
    if where in ("open", "retired"):
        raise Refused(
            f"The migration is {where}: it cannot be abandoned any more.",
            detail="The target has taken writes that the source would not have.",
            hint="The rollback path without losing data is: python -m controller rollback",
        )
    if observed.source is not None and observed.source.records is None:
        # Nothing of ours is on the source; only the word to Pulumi may have been left by an interrupted abandon.
        prepared_parameter.delete(m)
        m.say("nothing of encryptdb is on the source")
        return document(m, observed, None) | {"state": "abandoned"}
    with locked(m, target=True):
        watchdog.restore_leftover(m.source)
        _let_go_of_target(m, observed)
        for step in reversed(PLAN):
            # The control database goes last, and with it the lock's own connection.
            if step.undo is not None and step.name != "control-database":
                m.say(f"undo: {step.summary}")
                step.undo(m, observe(m) if step.name in ("parameters",) else observed)
    control.drop(m.source)
    m.say("the source is as it was before prepare")
    after = observe(m, with_parameter=True)
    return document(m, after, None) | {"state": "abandoned", "left": _left(m)}


def _look(m: Migration) -> tuple[Migration, Observed]:
    """Observe; where the copy is silent, go on without it, if the source alone proves that it was never opened."""
    try:
        return m, observe(m, with_parameter=True)
    except Problem as problem:
        if m.target is None or isinstance(problem, Refused):
            raise
        alone = replace(m, target=None)
        observed = observe(alone, with_parameter=True)
        if observed.source is None or not never_moved(observed.source):
            raise
        m.say(f"going on without the copy, which was never opened: {problem.message} {problem.detail or ''}")
        return alone, observed


def never_moved(source: ObservedServer) -> bool:
    """Whether no move has ever gone past its preparations: every one leaves its traces on the side that it leaves,
    from before the pause until a rollback or `retire` (the record of the move, the fence, the lasting fence)."""
    records = source.records or Records()
    moving = {d.oid for d in records.databases.listed} if records.databases else set()
    return not (records.moving or records.open or records.connect_privileges) and all(
        d.allow_connections for d in source.databases if d.oid in moving
    )


def _let_go_of_target(m: Migration, observed: Observed) -> None:
    """Remember on the copy that it was abandoned. A copy that is silent does not keep the source from being freed."""
    if m.target is None or observed.target is None or observed.target.records is None:
        return
    try:
        control.write(m.target, Abandoned(m.outputs.attempt))
    except Problem as problem:
        m.say(f"the target could not be told: {problem.message}")


def _left(m: Migration) -> list[str]:
    """What remains, for the operator to remove when it pleases them."""
    if m.outputs.target is None:
        return []
    return [
        f"The encrypted copy {m.outputs.target.identifier} is left as it is, closed to applications: delete it when "
        "nobody needs it any more (docs/stack.md tells how).",
    ]


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
