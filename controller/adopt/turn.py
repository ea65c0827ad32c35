"""Whether the target can be adopted: after `retire`, and once the stack is in phase `retire`. Pure."""

from encryptdb.controller.adopt.found import Found
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused


def not_yet(found: Found) -> Problem | None:
    """What has to be done first; None if nothing has."""
    stack = found.outputs.stack
    if found.state == "abandoned":
        return Refused(
            "This attempt was abandoned: the source serves.",
            detail="Its copy accepts no connections, and must not be adopted.",
            hint="To start a new attempt: "
            f"pulumi config set encryptdb:attempt {found.outputs.attempt + 1} --stack {stack} && "
            f"pulumi config set encryptdb:phase prepare --stack {stack} && pulumi up --stack {stack}",
        )
    if found.state == "rolled-back":
        return Refused(
            "The migration was rolled back: the source serves.",
            detail="Applications do not use the target.",
            hint=f"python -m controller cutover --stack {stack}, or python -m controller abandon --stack {stack}",
        )
    if found.outputs.target is None:
        return NotYet(
            "There is no target yet.",
            detail=f"The stack {stack} is in phase {found.outputs.phase}.",
            hint=f"python -m controller plan --stack {stack}",
        )
    if found.prepared_parameter or found.state not in (None, "retired"):
        return NotYet(
            "The migration is not retired yet.",
            detail="Replication between source and target needs both servers and this stack as they are. What is "
            "printed here serves as preparation.",
            hint=f"python -m controller retire --stack {stack}, once the rollback path is no longer needed.",
        )
    if found.outputs.phase != "retire":
        return NotYet(
            "The stack still has the snapshots and the link.",
            detail=f"It is in phase {found.outputs.phase}.",
            hint=f"pulumi config set encryptdb:phase retire --stack {stack} && pulumi up --stack {stack} && "
            f"python -m controller adopt --stack {stack}",
        )
    return None
