"""run: does the next steps as far as they may go without approval, and says what it waits for."""

from typing import Any

from encryptdb.controller.commands import prepare, replicate
from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.runner import next_step
from encryptdb.controller.state import document
from encryptdb.stacks.contract.errors import NotYet


def run(m: Migration) -> dict[str, Any]:
    """Ends where nothing is left to do. Raises NotYet, which carries the document, where it waits: for Pulumi, for the
    approval of the cutover, for the end of the rollback window."""
    observed = observe(m, with_parameter=True)
    following = next_step(m, observed)
    if following is not None and following.command == "prepare":
        prepare.run(m)
        observed = observe(m, with_parameter=True)
        following = next_step(m, observed)
    if following is not None and following.command == "replicate" and m.target is not None:
        replicate.run(m)
        observed = observe(m, with_parameter=True)
        following = next_step(m, observed)
    found = document(m, observed, following.name if following else None) | {"waits_for": None}
    if following is None:
        m.say(f"nothing is left to do: {found['state']}")
        return found
    raise waiting(m, following.command, found)


def waiting(m: Migration, command: str, found: dict[str, Any]) -> NotYet:
    """What is waited for, and who gives it."""
    stack = m.outputs.stack
    if command == "replicate":
        problem = NotYet(
            "The source is prepared; the target comes next, and Pulumi makes it.",
            detail=f"The stack {stack} is in phase {m.outputs.phase}.",
            hint="Set phase to restore in the stack's config, pulumi up, then run this again.",
        )
    elif command == "cutover":
        problem = NotYet(
            "The target has caught up; the cutover waits for its approval.",
            detail="Running it is the approval: it moves the applications.",
            hint=f"python -m controller cutover --stack {stack} --approved-by WHO",
        )
    else:
        problem = NotYet(
            "The applications are on the target; the rollback path is kept open.",
            detail=f"rollbackWindow is {m.outputs.rollback_window}. Ending it is a decision of its own.",
            hint=f"When nobody will go back any more: python -m controller retire --stack {stack}",
        )
    problem.document = found | {"waits_for": problem.hint}
    return problem


command = stack_command(run, ALLOW_REBOOT, APPROVED_BY)
