"""The section on cutover and rollback."""

from collections.abc import Mapping
from typing import Any

from encryptdb.controller.report.html import Html, facts, join, lsn, moment, paragraph, section, table, tag

Data = Mapping[str, Any]


def moves(data: Data) -> Html:
    """Cutover and rollback: the pause, verb by verb."""
    records = data["records"]
    found = [_move(name, records[name]) for name in ("cutover", "rollback") if name in records]
    if not found and "open" in records:
        # The controller was interrupted after OPEN, whose record has almost all of it.
        found = [_move("cutover" if records["open"].get("side") == "target" else "rollback", records["open"])]
    if not found:
        return section("The move of the applications", paragraph("The applications have not been moved."))
    return section("The move of the applications", *found)


VERBS = ("watchdog", "pause", "fence", "end markers", "drain", "sequences", "detach", "rollback path", "open", "switch")
"""The verbs in order, which jsonb does not keep."""


def _in_order(steps: Mapping[str, float]) -> dict[str, float]:
    order = {verb: n for n, verb in enumerate(VERBS)}
    return dict(sorted(steps.items(), key=lambda step: order.get(step[0], len(order))))


def _move(name: str, move: Data) -> Html:
    steps = _in_order(move.get("steps_ms") or {})
    longest = max([*steps.values(), 1.0])
    pause = move.get("pause_ms")
    known: list[tuple[str, object]] = []
    if opened := move.get("opened_at") or move.get("at"):
        known.append(("Opened", moment(opened)))
    if "rollback_path" in move:
        known.append(
            (
                "Rollback path",
                "made, to be kept until retire" if move["rollback_path"] else "none: the side that was left is closed",
            )
        )
    known += [(f"End marker in {database}", lsn(end)) for database, end in (move.get("end_lsns") or {}).items()]
    for place, host in (move.get("endpoints") or {}).get("reads", {}).items():
        known.append((f"Seen through {place}", tag("code", host)))
    return join(
        [
            tag("h3", name.capitalize()),
            paragraph(
                f"Writers were held back for {pause:,.0f} ms."
                if pause is not None
                else "The pause was not measured: the command was interrupted after the opening.",
                class_="lead",
            ),
            facts(known),
            paragraph("The steps in order. The watchdog starts before any writer is held back."),
            table(
                ["Step", "ms", ""],
                [
                    (step, f"{ms:,.1f}", tag("span", "", class_="bar", style=f"width:{100 * ms / longest:.1f}%"))
                    for step, ms in steps.items()
                ],
                class_="steps",
            ),
        ]
    )
