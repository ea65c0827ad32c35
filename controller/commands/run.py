"""run: does the next steps as far as they may go without approval, and says what it waits for."""

from typing import Any

from controller.commands import prepare, replicate
from controller.errors import NotYet
from controller.migration import Migration
from controller.observe import observe
from controller.runner import next_step
from controller.station import document


def run(m: Migration) -> dict[str, Any]:
    """Ends where nothing is left to do. Raises NotYet, which carries the document, where it waits: for Pulumi, for the
    approval of the cutover, for the end of the rollback window."""
    state = observe(m, with_mark=True)
    following = next_step(m, state)
    if following is not None and following.command == "prepare":
        prepare.run(m)
        state = observe(m, with_mark=True)
        following = next_step(m, state)
    if following is not None and following.command == "replicate" and m.target is not None:
        replicate.run(m)
        state = observe(m, with_mark=True)
        following = next_step(m, state)
    found = document(m, state, following.name if following else None) | {"waits_for": None}
    if following is None:
        m.say(f"nothing is left to do: {found['station']}")
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
            "The applications are on the target; the way back is kept open.",
            detail=f"rollbackWindow is {m.outputs.rollback_window}. Ending it is a decision of its own.",
            hint=f"When nobody will go back any more: python -m controller retire --stack {stack}",
        )
    problem.document = found | {"waits_for": problem.hint}
    return problem
