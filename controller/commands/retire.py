"""retire: drop every replication object after the cutover; delete the source on request; list plaintext."""

from dataclasses import replace
from typing import Any

import click

from encryptdb.controller import leftovers
from encryptdb.controller.commands.arguments import APPROVED_BY, REPORT, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, observe
from encryptdb.controller.report import check_writable, path_of
from encryptdb.controller.runner import advance, begin, locked
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract.errors import Refused, Usage


def run(m: Migration) -> dict[str, Any]:
    """Everything that could refuse it is asked first; what cannot be undone comes last.

    Raises NotYet before the cutover has finished, and while the rollback window is open unless --end-rollback-window is
    given.
    """
    begun = begin(m, "retire")
    source = _source_to_delete(m)
    check_writable(m)
    _refuse_silent_source(m, begun.observed)
    observed = begun.observed
    if not begun.done:
        m = m if observed.source is not None else replace(m, source=replace(m.source, host=""))
        with locked(m, "source", "target") as locks:
            observed = advance(m, "retire", locks)
    deleted = _delete(m, source) if source is not None else None
    left = [item.as_json() for item in leftovers.find(m)]
    for item in left:
        m.say(f"may still hold plaintext: {item['kind']} {item['name']} ({item['remedy']})")
    return document(
        m, observe(m), report=str(path_of(m)) if path_of(m).exists() else None, deleted=deleted, leftovers=left
    )


def _refuse_silent_source(m: Migration, observed: Observed) -> None:
    """A source that does not answer is left out only where AWS says that it is gone, or on its way out."""
    if observed.source is not None or not m.outputs.source.host:
        return
    found = m.engine.find_by_resource_id(m.outputs.source.resource_id)
    if found is not None and not found.deleting:
        assert observed.source_problem is not None
        raise observed.source_problem


def _source_to_delete(m: Migration) -> Database | None:
    """The source, where it is to be deleted and is still there. Raises Usage where --delete-source names another one,
    Refused where it is protected: both before anything is touched."""
    name = m.options.delete_source
    if name is None:
        return None
    found = m.engine.find_by_resource_id(m.outputs.source.resource_id)
    if found is None:
        m.say(f"the source {m.outputs.source.resource_id} is gone already")
        return None
    if found.identifier != name:
        raise Usage(
            f"--delete-source names {name!r}, but the source is {found.identifier!r}.",
            detail="Nothing was changed.",
            hint=f"encryptdb retire --stack {m.outputs.stack} --delete-source {found.identifier}",
        )
    if found.deletion_protection and not found.deleting:
        raise Refused(
            f"The source {name} is protected against deletion.",
            detail="Nothing was changed.",
            hint=m.engine.words.modify(name, "--no-deletion-protection", "--apply-immediately"),
        )
    return found


def _delete(m: Migration, source: Database) -> str:
    """Delete it for good, with its automated backups and without a final snapshot, which would be one more plaintext
    copy."""
    if not source.deleting:
        m.engine.delete(source)
        m.say(f"deleting the source {source.identifier}, without a final snapshot")
    return source.identifier


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
