"""The command `lab up`: what `pulumi up` does, without the CLI and its service."""

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi import RunError

from encryptdb.lab.provider.base import Calls, Interrupted, ProviderError
from encryptdb.lab.pulumi.config import ConfigFileError, Project, effective
from encryptdb.lab.pulumi.deployment import Changes, DeploymentError, ProtectedError
from encryptdb.lab.pulumi.engine import Program, script, update
from encryptdb.lab.pulumi.state import State, StateError
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Outputs

_TOP = Path(__file__).resolve().parents[2]
ROOT = _TOP if (_TOP / "Pulumi.yaml").is_file() else _TOP / "program"
"""Where Pulumi.yaml and __main__.py lie: in the checkout, or in the installed package."""


@dataclass
class Ending:
    """How an update ended. `what`, `means` and `hint` are empty where it succeeded."""

    status: int = 0
    what: str = ""
    means: str = ""
    hint: str = ""
    changes: Changes = field(default_factory=Changes)
    outputs: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The JSON document. After a failure it still tells what was done, and why that was not all."""
        done = dataclasses.asdict(self.changes)
        document = {"outputs": self.outputs, **done, "unchanged": done.pop("same")}
        document.pop("same", None)
        if self.status:
            document["error"] = {"message": self.what, "detail": self.means, "hint": self.hint}
        return document


def main(directory: Path, stack: str, config: dict[str, str], as_json: bool) -> int:
    """Bring the stack to what its program declares; the exit status. Progress goes to stderr."""
    ending = up(directory.absolute(), stack, config)
    if as_json:
        print(json.dumps(ending.document(), indent=2))
    elif not ending.status:
        _print_outputs(ending)
    if ending.status:
        for line in (ending.what, ending.means, f"What to do: {ending.hint}" if ending.hint else ""):
            if line:
                print(line, file=sys.stderr)
    return ending.status


def up(directory: Path, stack: str, config: Mapping[str, str]) -> Ending:
    """The same as a value: nothing is printed but progress, and nothing raised."""
    ending = Ending()
    calls = Calls(say=lambda text: print(text, file=sys.stderr, flush=True))
    try:
        enter(directory)
        project = Project(ROOT)
        values = effective(project, stack, directory / "config" / f"{stack}.json", config)
        program = Program(script(ROOT / "__main__.py"), ROOT, project.name(), stack, values)
        with State.open(directory / "state" / f"{stack}.json") as state:
            outputs = update(program, state, calls, lambda done: setattr(ending, "changes", done))
        # Pulumi drops outputs that are null; the contract names them all.
        ending.outputs = Outputs.from_json(outputs).to_json()
        _write(directory / "outputs" / f"{stack}.json", ending.outputs)
    except KeyboardInterrupt:
        calls.stop.set()
        _fail(ending, 130, "Interrupted.", "What was under way goes on in AWS.", "Run it again: it goes on from here.")
    except Exception as error:
        _explain(ending, error, stack)
    return ending


def enter(directory: Path) -> None:
    """Take the lab's environment, so that boto3 finds the lab and not AWS. Raises NoLab."""
    os.environ.update(environment(directory))


def environment(directory: Path) -> dict[str, str]:
    """What `. DIR/env` sets. Raises NoLab."""
    path = directory / "env"
    if not path.is_file():
        raise NoLab(directory)
    found = {}
    for line in path.read_text().splitlines():
        words = shlex.split(line, comments=True)
        name, _, value = words[-1].partition("=") if words else ("", "", "")
        if name:
            found[name] = value
    return found


class NoLab(Exception):
    """There is no lab in the directory."""


def _explain(ending: Ending, error: Exception, stack: str) -> None:
    again = "Mend that, then run it again: it goes on from here."
    stays = "What was made before is in the state; nothing is made twice."
    # The program ends with a RunError of Pulumi's, made from the problem.
    match error.__cause__ if isinstance(error, RunError) and error.__cause__ else error:
        case Problem() as problem:
            means = " ".join(text for text in (problem.detail, "Nothing was touched.") if text)
            _fail(ending, int(problem.status), problem.message, means, problem.hint or "")
        case ConfigFileError():
            _fail(ending, 2, str(error), "Nothing was touched.", "Correct it, then run it again.")
        case NoLab():
            start = f"python -m lab start --dir {error}"
            _fail(ending, 3, f"There is no lab in {error}.", "Its file `env` is not there.", f"Run `{start}` first.")
        case StateError():
            _fail(ending, 4, f"The state cannot be used: {error}.", "Nothing was touched.", "Let that one end first.")
        case ProtectedError():
            _fail(
                ending,
                4,
                f"Refused: {error}.",
                "Nothing was touched.",
                "docs/stack.md tells how to give up a target on purpose.",
            )
        case Interrupted():
            _fail(ending, 130, f"Interrupted: {error}.", stays, "Run it again: it goes on from here.")
        case DeploymentError() | ProviderError():
            _fail(ending, 1, f"Failed: {str(error).rstrip('.')}.", stays, again)
        case _:
            _fail(ending, 1, f"The program failed: {type(error).__name__}: {error}", stays, again)


def _fail(ending: Ending, status: int, what: str, means: str, hint: str) -> None:
    ending.status, ending.what, ending.means, ending.hint = status, what, means, hint


def _print_outputs(ending: Ending) -> None:
    done = ending.changes
    for kind in ("created", "updated", "replaced", "deleted"):
        names = getattr(done, kind)
        if names:
            print(f"{kind}: {', '.join(sorted(names))}")
    print(f"unchanged: {done.same}")
    for key, value in (ending.outputs or {}).items():
        print(f"  {key}: {json.dumps(value)}")


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=2) + "\n")
    beside.replace(path)
