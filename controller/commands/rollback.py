"""rollback: move the applications back to the source, without losing what was written since."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from controller import control
from controller.cutover import finish
from controller.cutover.conduct import conduct, make_switches, serving
from controller.cutover.move import Observer, unseen
from controller.cutover.way import Way
from controller.errors import NotYet, Refused, Usage
from controller.migration import Migration
from controller.observe import observe
from controller.runner import locked

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def run(m: Migration, observer: Observer = unseen) -> dict[str, Any]:
    """The same as cutover with the sides exchanged; its document is the same as well.

    Raises NotYet where nothing was cut over, Refused where there is no way back (any more).
    """
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    state = observe(m)
    source_records = (state.source.records if state.source else None) or {}
    if serving(state) == "source":
        if "open" not in source_records:
            raise NotYet("Nothing was cut over yet: the source serves.", hint="There is nothing to roll back.")
        document: dict[str, Any] | None = source_records.get("rollback")
        if document is not None:
            return document
        with locked(m, target=True):
            way = Way.rollback(m, state.migrated)
            return finish.complete(m, way, make_switches(m, way), moved=None)
    assert state.target is not None and state.target.records is not None, "the target serves, by its records"
    opened = state.target.records["open"]
    _refuse_closed_window(m, opened, state.at)
    if state.source is None:
        raise Refused(
            "The source cannot be reached, so there is nothing to go back to.",
            detail=state.source_problem.detail if state.source_problem else None,
            hint="Bring it back, then run this again. The target serves.",
        )
    with locked(m, target=True):
        control.note(m.the_target, "rollback begun", by=control.who())
        if "cutover" not in state.target.records:
            way = Way.cutover(m, state.migrated)
            finish.complete(m, way, make_switches(m, way), moved=None)
        return conduct(m, Way.rollback(m, state.migrated), way_back=True, observer=observer)


def _refuse_closed_window(m: Migration, opened: dict[str, Any], now: datetime) -> None:
    window = m.outputs.rollback_window
    if not opened.get("way_back") or window == "none":
        raise Refused(
            "There is no way back.",
            detail="The cutover was made with rollbackWindow: none, so nothing written since is on the source.",
            hint="Go forward: mend what is wrong on the target.",
        )
    closes = datetime.fromisoformat(opened["at"]) + window_length(window)
    if now.astimezone(UTC) > closes:
        raise Refused(
            f"The rollback window closed at {closes:%Y-%m-%d %H:%M} UTC.",
            detail=f"rollbackWindow is {window}. The way back still runs until retire.",
            hint="To use it all the same, set rollbackWindow longer in the stack's config, pulumi up, run this again.",
        )


def window_length(text: str) -> timedelta:
    """A duration such as 7d, 36h, 90m. Raises Usage."""
    found = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", text)
    if found is None:
        raise Usage(f"rollbackWindow: {text!r} is no duration.", hint='Write it like "7d", "36h", or "none".')
    return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})
