"""rollback: move the applications back to the source, without losing what was written since."""

from datetime import UTC, datetime
from typing import Any

from encryptdb.controller.cutover import finish
from encryptdb.controller.cutover.conduct import conduct, make_switches, serving
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Observer, unseen
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import control
from encryptdb.controller.runner import locked
from encryptdb.stacks.contract.errors import NotYet, Refused
from encryptdb.stacks.contract.outputs import window_length


def run(m: Migration, observer: Observer = unseen) -> dict[str, Any]:
    """The same as cutover with the sides exchanged; its document is the same as well.

    Raises NotYet where nothing was cut over, Refused where there is no rollback path (any more).
    """
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    observed = observe(m)
    source_records = (observed.source.records if observed.source else None) or {}
    if serving(observed) == "source":
        if "open" not in source_records:
            raise NotYet("Nothing was cut over yet: the source serves.", hint="There is nothing to roll back.")
        document: dict[str, Any] | None = source_records.get("rollback")
        if document is not None:
            return document
        with locked(m, target=True):
            direction = Direction.rollback(m, observed.migrated)
            return finish.complete(m, direction, make_switches(m, direction), moved=None)
    assert observed.target is not None and observed.target.records is not None, "the target serves, by its records"
    opened = observed.target.records["open"]
    _refuse_closed_window(m, opened, observed.at)
    if observed.source is None:
        raise Refused(
            "The source cannot be reached, so there is nothing to go back to.",
            detail=observed.source_problem.detail if observed.source_problem else None,
            hint="Bring it back, then run this again. The target serves.",
        )
    with locked(m, target=True):
        control.note(m.the_target, "rollback begun", by=control.who())
        if "cutover" not in observed.target.records:
            direction = Direction.cutover(m, observed.migrated)
            finish.complete(m, direction, make_switches(m, direction), moved=None)
        return conduct(m, Direction.rollback(m, observed.migrated), rollback_path=True, observer=observer)


def _refuse_closed_window(m: Migration, opened: dict[str, Any], now: datetime) -> None:
    window = window_length(m.outputs.rollback_window)
    if not opened.get("rollback_path") or window is None:
        raise Refused(
            "There is no rollback path.",
            detail="The cutover was made with rollbackWindow: none, so nothing written since is on the source.",
            hint="Go forward: mend what is wrong on the target.",
        )
    closes = datetime.fromisoformat(opened["at"]) + window
    if now.astimezone(UTC) > closes:
        raise Refused(
            f"The rollback window closed at {closes:%Y-%m-%d %H:%M} UTC.",
            detail=f"rollbackWindow is {m.outputs.rollback_window}. The rollback path still runs until retire.",
            hint="To use it all the same, set rollbackWindow longer in the stack's config, pulumi up, run this again.",
        )
