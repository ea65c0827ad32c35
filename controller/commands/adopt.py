"""adopt: what the owner's own infrastructure code needs, so that the target becomes theirs. Changes nothing."""

from pathlib import Path
from typing import Any

import click

from encryptdb.controller import adopt
from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.migration import Migration
from encryptdb.stacks.contract.errors import Refused, Usage


def run(m: Migration) -> dict[str, Any]:
    """The document; its `text` is the page, its `program` the code alone. Raises NotYet, or Refused, with the document
    before it is adopt's turn."""
    found, base = adopt.read(m)
    problem = adopt.not_yet(found)
    tool = m.options.tool
    text = adopt.compose(found, tool, problem)
    program = "" if isinstance(problem, Refused) else adopt.program(found, tool)
    document = base | found.as_json() | {"tool": tool, "program": program, "text": text}
    if m.options.output is not None:
        _write(Path(m.options.output), text)
        m.say(f"it is in {m.options.output}")
        document |= {"output": m.options.output}
    if problem is not None:
        problem.document = document
        raise problem
    return document


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Usage(f"{path} cannot be written.", detail=str(error)) from None


command = stack_command(
    run,
    click.Option(
        ["--tool"],
        type=click.Choice(["pulumi", "terraform"]),
        default="pulumi",
        show_default=True,
        help="What the code is for.",
    ),
    click.Option(["--output"], metavar="FILE", help="Write it there instead of on stdout."),
)
