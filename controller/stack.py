"""Reads the outputs of a stack: from a file, the lab's directory, or `pulumi stack output --json`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from encryptdb.stacks.contract.errors import NotYet, Usage
from encryptdb.stacks.contract.outputs import ContractError, Outputs

PULUMI_SECONDS = 60


def read_outputs(stack: str | None, file: str | None) -> Outputs:
    """The outputs of the named stack, or of the file. Raises Usage; NotYet before the first `pulumi up`."""
    if file is not None:
        return parse_outputs(_read(Path(file)), f"the file {file}", "NAME")
    assert stack is not None, "the command line asks for one of the two"
    lab = os.environ.get("LAB_DIR")
    if lab:
        path = Path(lab) / "outputs" / f"{stack}.json"
        if "/" in stack or not path.is_file():
            raise Usage(
                f"There is no stack {stack!r} in the lab.",
                detail=f"LAB_DIR is set, and {path} does not exist.",
                hint=f"python -m encryptdb.lab up --dir {lab} --stack {stack}",
            )
        return parse_outputs(_read(path), f"the file {path}", stack)
    return parse_outputs(_ask_pulumi(stack), f"pulumi stack output of {stack}", stack)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(
            f"Could not read the outputs in {path}.",
            detail=str(error),
            hint=f"pulumi stack output --json --stack NAME > {path}",
        ) from None


def _ask_pulumi(stack: str) -> str:
    try:
        answer = subprocess.run(
            ["pulumi", "stack", "output", "--json", "--non-interactive", "--stack", stack],
            capture_output=True,
            text=True,
            timeout=PULUMI_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        raise Usage(
            "The pulumi command is not on the PATH.",
            detail=f"It is needed to read the outputs of the stack {stack!r}.",
            hint="Install Pulumi, or give --outputs FILE.",
        ) from None
    except subprocess.TimeoutExpired:
        raise Usage(
            f"pulumi did not answer within {PULUMI_SECONDS} s.",
            hint="Check its login (pulumi whoami), or give --outputs FILE.",
        ) from None
    if answer.returncode != 0:
        raise Usage(
            f"pulumi could not read the outputs of the stack {stack!r}.",
            detail=answer.stderr.strip()[-600:],
            hint="Run this in the project's directory, logged in; `pulumi stack ls` lists the stacks.",
        )
    return answer.stdout


def parse_outputs(text: str, origin: str, stack: str) -> Outputs:
    """Parse what `pulumi stack output --json` printed. Raises as `read_outputs`."""
    try:
        document: Any = json.loads(text)
        if document == {}:
            raise NotYet("The stack has no outputs yet.", hint=f"pulumi up --stack {stack}")
        return Outputs.from_json(document)
    except (ValueError, ContractError) as error:
        raise Usage(
            f"The outputs in {origin} are invalid.",
            detail=f"{error.message if isinstance(error, ContractError) else 'it is not JSON'}.",
            hint=f"With this version of the program: pulumi up --stack {stack}",
        ) from None
