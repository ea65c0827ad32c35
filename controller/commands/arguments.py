"""What the commands' arguments have in common: the stack, --json, and the options that several of them take."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from encryptdb.controller.commands import COMMANDS, EXIT_STATUSES
from encryptdb.controller.migration import Migration, Options, open_migration
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.stack import read_outputs
from encryptdb.controller.waiting import Reporter

Document = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A command line that was understood: what it runs, and whether its document goes to stdout as JSON."""

    run: Callable[[Reporter], Document]
    json: bool


class Seconds(click.ParamType[float]):
    """A number of seconds from 0.5 to 600."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0.5 <= seconds <= 600:
            self.fail(f"{value!r} is not a number of seconds from 0.5 to 600.", param, ctx)
        return seconds


class ExactLsn(click.ParamType[LSN]):
    """An LSN as PostgreSQL writes it, such as 16/B374D848."""

    name = "lsn"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LSN:
        try:
            return value if isinstance(value, LSN) else LSN.parse(value)
        except ValueError:
            self.fail(f"{value!r} is not an LSN, such as 16/B374D848.", param, ctx)


def _stacks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    names = (path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in Path("stacks").glob("Pulumi.*.yaml"))
    return sorted(name for name in names if name.startswith(incomplete))


STACK = click.Option(
    ["--stack"], metavar="NAME", shell_complete=_stacks, help="The Pulumi stack; its outputs are asked from pulumi."
)
STACK_REQUIRED = click.Option(
    ["--stack"],
    metavar="NAME",
    required=True,
    shell_complete=_stacks,
    help="The stack of this directory's project.",
)
OUTPUTS = click.Option(["--outputs"], metavar="FILE", help="A file with the stack's outputs as JSON.")
JSON = click.Option(["--json"], is_flag=True, help="Print one JSON document on stdout.")
APPROVED_BY = click.Option(["--approved-by"], metavar="WHO", help="Who approved, for the journal.")
ALLOW_REBOOT = click.Option(["--allow-reboot"], is_flag=True, help="The source may be rebooted now, if it must be.")
MAX_PAUSE = click.Option(
    ["--max-pause"],
    type=Seconds(),
    default=Options.max_pause,
    show_default=True,
    metavar="SECONDS",
    help="Longest write pause; after it the side that served before serves again.",
)
REPORT = click.Option(["--output"], metavar="FILE", help="Where the report goes (default encryptdb-<stack>.html).")


def make_command(name: str, callback: Callable[..., Call], *params: click.Parameter) -> click.Command:
    """A command with --json, the summary of COMMANDS and the exit statuses; `callback` gets the arguments by name."""
    summary = COMMANDS[name]
    return click.Command(
        name,
        callback=callback,
        params=[*params, JSON],
        help=f"{summary[0].upper()}{summary[1:]}.",
        epilog=EXIT_STATUSES,
    )


def stack_command(run: Callable[[Migration], Document], *params: click.Option) -> click.Command:
    """The command of a module's `run`: --stack or --outputs, and its own options, which become `Options`."""
    name = run.__module__.rpartition(".")[2]

    def callback(stack: str | None, outputs: str | None, json: bool, **options: Any) -> Call:
        if (stack is None) == (outputs is None):
            raise click.UsageError("Give exactly one of --stack NAME and --outputs FILE.")
        given = Options(**options)
        return Call(lambda reporter: _run(run, name, stack, outputs, given, reporter), json)

    return make_command(name, callback, STACK, OUTPUTS, *params)


def _run(
    run: Callable[[Migration], Document],
    name: str,
    stack: str | None,
    outputs: str | None,
    options: Options,
    reporter: Reporter,
) -> Document:
    m = open_migration(read_outputs(stack, outputs), options, name, reporter)
    try:
        return run(m)
    finally:
        m.close()
