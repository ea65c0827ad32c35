"""cutover: move the applications to the target. Running it is the approval."""

from typing import Any

import click

from encryptdb.controller.commands.arguments import APPROVED_BY, MAX_PAUSE, stack_command
from encryptdb.controller.cutover import finish
from encryptdb.controller.cutover.conduct import conduct, make_switches, serving
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.cutover.move import Observer, unseen
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import control
from encryptdb.controller.record_values import as_json
from encryptdb.controller.runner import locked
from encryptdb.stacks.contract.errors import NotYet


def run(m: Migration, observer: Observer = unseen) -> dict[str, Any]:
    """Its document: pause_ms, steps_ms, end_lsns. Run again it returns the same one, or completes what was cut off.

    Raises NotYet before the target has caught up, Refused where going on would not be safe, Failed where it broke off.
    """
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    observed = observe(m)
    if serving(observed) == "target":
        return _complete(m, reachable=observed.source is not None)
    if not observed.migrated or observed.records.exact_lsn is None:
        raise NotYet(
            "The target does not follow the source yet.",
            hint=f"Run python -m controller replicate --stack {m.outputs.stack} first.",
        )
    with locked(m, target=True):
        if not m.options.dry_run:
            control.note(m.source, "cutover begun", approved_by=m.options.approved_by or control.who())
        return conduct(
            m,
            Direction.cutover(m, observed.migrated),
            rollback_path=m.outputs.rollback_window != "none",
            observer=observer,
        )


def _complete(m: Migration, *, reachable: bool) -> dict[str, Any]:
    """The target is open already: return what was recorded, or do what an earlier run left."""
    records = control.records(m.the_target)
    if records and records.cutover:
        return as_json(records.cutover)
    with locked(m, source=reachable, target=True):
        direction = Direction.cutover(m, observe(m).migrated)
        m.say("the target is open already: completing what is left")
        return finish.complete(m, direction, make_switches(m, direction), moved=None)


command = stack_command(
    run,
    MAX_PAUSE,
    click.Option(["--dry-run"], is_flag=True, help="All checks and probes; changes nothing."),
    APPROVED_BY,
)
