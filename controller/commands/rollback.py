"""rollback: move the applications back to the source, without losing what was written since."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from encryptdb.controller.commands.arguments import APPROVED_BY, MAX_PAUSE, stack_command
from encryptdb.controller.cutover import finish
from encryptdb.controller.cutover.conduct import conduct, make_switches, serving
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Observer, unseen
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import control
from encryptdb.controller.record_values import as_json
from encryptdb.controller.records import Open, Records
from encryptdb.controller.runner import locked
from encryptdb.stacks.contract.errors import NotYet, Refused, Usage

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def run(m: Migration, observer: Observer = unseen) -> dict[str, Any]:
    """The same as cutover with the sides exchanged; its document is the same as well.

    Raises NotYet where nothing was cut over, Refused where there is no rollback path (any more).
    """
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    observed = observe(m)
    source_records = (observed.source.records if observed.source else None) or Records()
    if serving(observed) == "source":
        if source_records.open is None:
            raise NotYet("Nothing was cut over yet: the source serves.", hint="There is nothing to roll back.")
        if source_records.rollback is not None:
            return as_json(source_records.rollback)
        with locked(m, target=True):
            direction = Direction.rollback(m, observed.migrated)
            return finish.complete(m, direction, make_switches(m, direction), moved=None)
    opened = observed.records.open
    assert opened is not None, "the target serves, by its records"
    _refuse_closed_window(m, opened, observed.at)
    if observed.source is None:
        raise Refused(
            "The source cannot be reached, so there is nothing to go back to.",
            detail=observed.source_problem.detail if observed.source_problem else None,
            hint="Bring it back, then run this again. The target serves.",
        )
    with locked(m, target=True):
        control.note(m.the_target, "rollback begun", approved_by=m.options.approved_by or control.who())
        if observed.records.cutover is None:
            direction = Direction.cutover(m, observed.migrated)
            finish.complete(m, direction, make_switches(m, direction), moved=None)
        return conduct(m, Direction.rollback(m, observed.migrated), rollback_path=True, observer=observer)


def _refuse_closed_window(m: Migration, opened: Open, now: datetime) -> None:
    window = m.outputs.rollback_window
    if not opened.rollback_path or window == "none":
        raise Refused(
            "There is no rollback path.",
            detail="The cutover was made with rollbackWindow: none, so nothing written since is on the source.",
            hint="Go forward: mend what is wrong on the target.",
        )
    closes = opened.at + window_length(window)
    if now.astimezone(UTC) > closes:
        raise Refused(
            f"The rollback window closed at {closes:%Y-%m-%d %H:%M} UTC.",
            detail=f"rollbackWindow is {window}. The rollback path still runs until retire.",
            hint="To use it all the same, set rollbackWindow longer in the stack's config, pulumi up, run this again.",
        )


def window_length(text: str) -> timedelta:
    """A duration such as 7d, 36h, 90m. Raises Usage."""
    found = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", text)
    if found is None:
        raise Usage(f"rollbackWindow: {text!r} is no duration.", hint='Write it like "7d", "36h", or "none".')
    return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})


command = stack_command(run, MAX_PAUSE, APPROVED_BY)
