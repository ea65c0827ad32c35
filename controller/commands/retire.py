"""retire: take down every replication object after the cutover; delete the source on request; list plaintext."""

from dataclasses import replace
from typing import Any

import click

from encryptdb.controller import leftovers
from encryptdb.controller.commands.arguments import APPROVED_BY, REPORT, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.report import collect, write
from encryptdb.controller.runner import advance, locked
from encryptdb.controller.state import document, state
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused, Usage


def run(m: Migration) -> dict[str, Any]:
    """Running it ends the rollback window. Raises NotYet before the cutover has finished."""
    m.the_target  # noqa: B018  (raises NotYet, before anything else is asked)
    m, observed = _look(m)
    where = state(m, observed)
    if where == "abandoned" or (observed.target and observed.target.records and observed.target.records.abandoned):
        raise Refused("This attempt was abandoned: there is nothing to retire.")
    if where == "rolled-back":
        raise Refused(
            "The migration was rolled back: the source is in use.",
            hint="Cut over again first, or abandon this attempt.",
        )
    if where not in ("open", "retired"):
        raise NotYet(
            "The applications have not been moved yet.",
            detail=f"The migration is {where or 'not prepared'}.",
            hint=f"python -m controller cutover --stack {m.outputs.stack}",
        )
    if where == "open" and observed.records.cutover is None:
        raise NotYet(
            "The cutover has opened the target, but has not finished.",
            hint=f"Run python -m controller cutover --stack {m.outputs.stack} again: it completes what is missing.",
        )
    extra: dict[str, Any] = {}
    base = document(m, observed, None)
    if where == "open":
        # The evidence lives in the databases that are about to go: the report is its last reader.
        extra["report"] = write(m, collect(m, observed))
        with locked(m, source=observed.source is not None and observed.source.records is not None, target=True):
            advance_quietly(m, observed)
    if m.options.delete_source is not None:
        extra["deleted"] = delete_source(m, m.options.delete_source)
    left = [item.as_json() for item in leftovers.find(m)]
    for item in left:
        m.say(f"may still hold plaintext: {item['kind']} {item['name']} ({item['remedy']})")
    return base | {"state": "retired"} | extra | {"leftovers": left}


def _look(m: Migration) -> tuple[Migration, Observed]:
    """Observe; where the source is silent because it was deleted, which AWS must say, look at the target alone."""
    try:
        return m, observe(m)
    except Problem:
        found = m.engine.find_by_resource_id(m.outputs.source.resource_id)
        if found is not None and not found.deleting:
            raise
        gone = replace(m.outputs, source=replace(m.outputs.source, host=None))
        alone = replace(m, outputs=gone, source=replace(m.source, host=""))
        return alone, observe(alone)


def advance_quietly(m: Migration, observed: Any) -> None:
    """The take-down drops the databases that hold the locks, so nothing is checked or journalled after it."""
    advance(m, "retire", observed)


def delete_source(m: Migration, identifier: str) -> str:
    """Delete the source for good, without a final snapshot (it would be one more plaintext copy), with its automated
    backups. `identifier` must name it: that is the confirmation."""
    found = m.engine.find_by_resource_id(m.outputs.source.resource_id)
    if found is None:
        m.say(f"the source {m.outputs.source.resource_id} is gone already")
        return identifier
    if found.identifier != identifier:
        raise Usage(
            f"--delete-source names {identifier!r}, but the source is {found.identifier!r}.",
            detail="Nothing was deleted.",
            hint="Give the source's own identifier.",
        )
    if found.deleting:
        return identifier
    if found.deletion_protection:
        raise Refused(
            f"The source {identifier} is protected against deletion.",
            detail="Nothing was deleted. Everything else of retire is done.",
            hint=m.engine.words.modify(identifier, "--no-deletion-protection", "--apply-immediately")
            + ", then run this again.",
        )
    m.engine.delete(found)
    m.say(f"deleting the source {identifier}, without a final snapshot")
    return identifier


command = stack_command(
    run,
    click.Option(
        ["--end-rollback-window"],
        is_flag=True,
        help="Drop the rollback path while its window is still open.",
    ),
    click.Option(["--delete-source"], metavar="IDENTIFIER", help="Also delete the source, without a final snapshot."),
    REPORT,
    APPROVED_BY,
)
