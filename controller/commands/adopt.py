"""adopt: what the owner's own infrastructure code needs to manage the target. Changes nothing."""

from pathlib import Path
from typing import Any

import click

from encryptdb.controller import adopt, permissions
from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.document import document, standing
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.stacks.contract.errors import Refused, Usage


def run(m: Migration) -> dict[str, Any]:
    """The document; its `text` is the page, its `import_file` what the tool imports from. Raises NotYet or Refused,
    with the document, if the target cannot be adopted yet or at all."""
    observed = observe(m)
    problem = permissions.refusal(standing(m, observed), "adopt", m.outputs)
    found = adopt.read(m)
    tool = m.options.tool
    text = adopt.compose(found, tool, problem)
    file = "" if isinstance(problem, Refused) else adopt.import_file(found, tool)
    shown = document(m, observed) | found.as_json() | {"tool": tool, "import_file": file, "text": text}
    if m.options.output is not None:
        _write(Path(m.options.output), text)
        m.say(f"wrote {m.options.output}")
        shown |= {"output": m.options.output}
    if problem is not None:
        problem.document = shown
        raise problem
    return shown


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Usage(f"Could not write {path}.", detail=str(error), hint="Name another file with --output.") from None


command = stack_command(
    run,
    click.Option(
        ["--tool"],
        type=click.Choice(list(adopt.TOOLS)),
        default="pulumi",
        show_default=True,
        help="The tool that will manage the target.",
    ),
    click.Option(["--output"], metavar="FILE", help="Write it there instead of on stdout."),
)
