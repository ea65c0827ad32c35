"""Whether it is adopt's turn: after `retire`, and after the stack's own phase `retire`. Pure."""

from encryptdb.controller.adopt.found import Found
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused


def not_yet(found: Found) -> Problem | None:
    """What comes first, or None."""
    stack = found.outputs.stack
    if found.state == "abandoned":
        return Refused(
            "This attempt was abandoned: its copy is closed, and the source serves.",
            detail="There is nothing here to adopt.",
            hint="To try again: attempt one higher, phase prepare, pulumi up.",
        )
    if found.state == "rolled-back":
        return Refused(
            "The migration was rolled back: the source is in use.",
            detail="The target is not what applications write to.",
            hint="Cut over again first, or abandon this attempt.",
        )
    if found.outputs.target is None:
        return NotYet(
            "There is no target yet.",
            detail=f"The stack {stack} is in phase {found.outputs.phase}: its outputs name no target.",
            hint=f"python -m controller plan --stack {stack} tells what comes next.",
        )
    if found.prepared_parameter or found.state not in (None, "retired"):
        return NotYet(
            "The migration is not retired yet.",
            detail="Until it is, source and target follow each other: leave both, and this stack, as they are. "
            "What is printed can be prepared, and printed again then.",
            hint=f"python -m controller retire --stack {stack}, when the rollback path is not needed any more.",
        )
    if found.outputs.phase != "retire":
        return NotYet(
            "The stack still holds the snapshots and the link.",
            detail=f"It is in phase {found.outputs.phase}; what is printed is what there is now.",
            hint=f"pulumi config set encryptdb:phase retire --stack {stack}, then pulumi up, then this again.",
        )
    return None
