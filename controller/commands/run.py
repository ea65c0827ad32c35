"""run: does the next steps as far as they may go without approval, and says what it waits for."""

from typing import Any

from encryptdb.controller import permissions
from encryptdb.controller.commands import prepare, replicate
from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next
from encryptdb.controller.observe import observe
from encryptdb.controller.state import State, decide
from encryptdb.stacks.contract.errors import NotYet

WITHOUT_APPROVAL = {Next.PREPARE: prepare.run, Next.REPLICATE: replicate.run}


def run(m: Migration) -> dict[str, Any]:
    """Ends where nothing is left to do. Raises NotYet, which carries the document, where it waits: for Pulumi, for the
    approval of the cutover, for the end of the rollback window."""
    done: Next | None = None
    while True:
        observed = observe(m)
        standing = decide(m.outputs, m.names, observed)
        if standing.state is State.UNKNOWN and standing.problem is not None:
            raise standing.problem
        found, row = document(m, observed, waits_for=None), permissions.row(standing)
        if standing.state in (State.RETIRED, State.ABANDONED) and not standing.conditions:
            m.say(f"nothing is left to do: {row.summary}")
            return found
        if row.next not in WITHOUT_APPROVAL or row.next is done:
            raise _waiting(m, row, found)
        done = row.next
        WITHOUT_APPROVAL[row.next](m)


def _waiting(m: Migration, row: permissions.Row, found: dict[str, Any]) -> NotYet:
    """What is waited for, and the command line of whoever gives it."""
    detail = {
        Next.CUTOVER: "The cutover waits for its approval: running it moves the applications.",
        Next.END_WINDOW: f"rollbackWindow is {m.outputs.rollback_window}. Ending the rollback path is a decision.",
    }.get(row.next, f"The stack {m.outputs.stack} is in phase {m.outputs.phase}.")
    problem = NotYet(row.summary, detail=detail, hint=found["next"])
    problem.document = found | {"waits_for": found["next"]}
    return problem


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
