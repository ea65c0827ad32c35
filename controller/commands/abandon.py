"""abandon: while the source serves (before OPEN, or after a rollback), the source exactly as it was before prepare."""

from dataclasses import replace
from typing import Any

from controller import control, mark
from controller.cutover import lasting, watchdog
from controller.errors import Problem, Refused
from controller.migration import Migration
from controller.observe import ServerState, State, observe
from controller.plan import PLAN
from controller.runner import locked
from controller.station import document, station


def run(m: Migration) -> dict[str, Any]:
    """Undo everything on the source, last step first. Raises Refused after OPEN."""
    m, state = _look(m)
    where = station(m, state)
    if where in ("open", "retired"):
        raise Refused(
            f"The migration is {where}: it cannot be abandoned any more.",
            detail="The target has taken writes that the source would not have.",
            hint="The way back without losing data is: python -m controller rollback",
        )
    if state.source is not None and state.source.records is None:
        # Nothing of ours is on the source; only the word to Pulumi may have been left by an interrupted abandon.
        mark.delete(m)
        m.say("nothing of encryptdb is on the source")
        return document(m, state, None) | {"station": "abandoned"}
    with locked(m, target=True):
        watchdog.restore_leftover(m.source)
        _let_go_of_target(m, state)
        for step in reversed(PLAN):
            # The control database goes last, and with it the lock's own connection.
            if step.undo is not None and step.name != "control-database":
                m.say(f"undo: {step.summary}")
                step.undo(m, observe(m) if step.name in ("parameters",) else state)
    control.drop(m.source)
    m.say("the source is as it was before prepare")
    after = observe(m, with_mark=True)
    return document(m, after, None) | {"station": "abandoned", "left": _left(m)}


def _look(m: Migration) -> tuple[Migration, State]:
    """Observe; where the copy is silent, go on without it, if the source alone proves that it was never opened."""
    try:
        return m, observe(m, with_mark=True)
    except Problem as problem:
        if m.target is None:
            raise
        alone = replace(m, target=None)
        state = observe(alone, with_mark=True)
        if state.source is None or not never_moved(state.source):
            raise
        m.say(f"going on without the copy, which was never opened: {problem.message} {problem.detail or ''}")
        return alone, state


def never_moved(source: ServerState) -> bool:
    """Whether no move has ever gone past its preparations: every one leaves its traces on the side that it leaves,
    from before the pause until a rollback or `retire` (the record of the move, the fence, the lasting fence)."""
    records = source.records or {}
    return not {"moving", "open", lasting.RECORD} & records.keys() and all(
        d.allow_connections for d in source.databases if d.oid in {r["oid"] for r in records.get("databases", ())}
    )


def _let_go_of_target(m: Migration, state: State) -> None:
    """Remember on the copy that it was abandoned. A copy that is silent does not keep the source from being freed."""
    if m.target is None or state.target is None or state.target.records is None:
        return
    try:
        control.record(m.target, "abandoned", {"attempt": m.outputs.attempt})
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
