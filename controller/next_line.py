"""The exact command lines that come next, to be pasted. On the lab `pulumi up` is `lab up`."""

import os
import shlex
from collections.abc import Mapping
from enum import StrEnum

from encryptdb.stacks.contract.outputs import Outputs


class Next(StrEnum):
    """One command line each; `line` fills it in."""

    PREPARE = "encryptdb prepare --stack {stack}"
    RESTORE = "pulumi config set encryptdb:phase restore --stack {stack} && pulumi up --stack {stack}"
    REPLICATE = "encryptdb replicate --stack {stack}"
    CUTOVER = "encryptdb cutover --stack {stack}"
    ROLLBACK = "encryptdb rollback --stack {stack}"
    END_WINDOW = "encryptdb retire --stack {stack} --end-rollback-window"
    LONGER_WINDOW = "pulumi config set encryptdb:rollbackWindow 30d --stack {stack} && pulumi up --stack {stack}"
    RETIRE = "encryptdb retire --stack {stack}"
    RETIRE_PHASE = "pulumi config set encryptdb:phase retire --stack {stack} && pulumi up --stack {stack}"
    ADOPT = "encryptdb adopt --stack {stack}"
    ABANDON = "encryptdb abandon --stack {stack}"
    NEXT_ATTEMPT = (
        "pulumi config set encryptdb:attempt {next_attempt} --stack {stack} && "
        "pulumi config set encryptdb:phase prepare --stack {stack} && pulumi up --stack {stack}"
    )
    STATUS = "encryptdb status --stack {stack}"


_LAB_UP = "python -m encryptdb.lab up --dir {lab} --stack {stack} --config "
_ON_THE_LAB = {
    Next.RESTORE: _LAB_UP + "phase=restore",
    Next.RETIRE_PHASE: _LAB_UP + "phase=retire",
    Next.LONGER_WINDOW: _LAB_UP + "rollbackWindow=30d",
    Next.NEXT_ATTEMPT: _LAB_UP + "attempt={next_attempt} --config phase=prepare",
}


def line(next: Next, outputs: Outputs, environ: Mapping[str, str] = os.environ) -> str:
    """The command line for this stack, complete."""
    lab = environ.get("LAB_DIR")
    template = _ON_THE_LAB.get(next, str(next)) if lab else str(next)
    return template.format(
        stack=shlex.quote(outputs.stack), next_attempt=outputs.attempt + 1, lab=shlex.quote(lab or "")
    )


def next_attempt(outputs: Outputs) -> str:
    """The command lines that give this attempt up and begin the next one."""
    return " && ".join(line(n, outputs) for n in (Next.ABANDON, Next.NEXT_ATTEMPT, Next.PREPARE))
