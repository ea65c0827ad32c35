"""The command line: finds the command, runs it, prints, and chooses the exit status. Only here.

A command's module is imported when it is called, so that --help answers at once.
"""

import importlib
import json
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from encryptdb import __version__
from encryptdb.controller.commands import COMMANDS, EXIT_STATUSES
from encryptdb.stacks.contract.errors import AGAIN, Interrupted, Problem, Status, Usage

if TYPE_CHECKING:
    from encryptdb.controller.commands.arguments import Call


class LazyCommand(click.Command):
    """Stands for a command in the list; its module is imported for its arguments, its own help and its completion."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return load(str(self.name)).make_context(info_name, args, parent, **extra)


def load(name: str) -> click.Command:
    """The command as its module declares it."""
    command = importlib.import_module(f"encryptdb.controller.commands.{name}").command
    assert isinstance(command, click.Command)
    return command


class Commands(click.Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


encryptdb = click.version_option(__version__, prog_name="encryptdb")(
    Commands(
        "encryptdb",
        commands=[LazyCommand(name, short_help=summary) for name, summary in COMMANDS.items()],
        help="Move a live PostgreSQL database on RDS or Aurora to an encrypted copy of itself.",
        epilog=EXIT_STATUSES,
        context_settings={"max_content_width": 120},
    )
)


def parse(argv: Sequence[str]) -> "Call | None":
    """What the command line asks for; None if it was answered (--help, --version). Raises click.UsageError."""
    call: Call | int = encryptdb.main(argv, standalone_mode=False)
    return None if isinstance(call, int) else call


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    as_json = "--json" in argv
    signal.signal(signal.SIGTERM, _terminate)
    try:
        call = parse(argv)
        if call is not None:
            from encryptdb.controller.waiting import Reporter

            _show(call.run(Reporter(sys.stderr)), as_json)
    except click.UsageError as error:
        error.show()
        if as_json:
            hint = f"{error.ctx.command_path} --help" if error.ctx else None
            print(_error_document(Usage(error.format_message(), hint=hint)))
        return Status.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _end(Interrupted("Interrupted.", detail=_INTERRUPTED, hint=AGAIN), argv)
    except Problem as problem:
        return _end(problem, argv)
    return Status.OK


_INTERRUPTED = "Nothing was lost: completed steps stay done, and the source serves unless it was fenced for good."


def _terminate(number: int, frame: FrameType | None) -> None:
    # The pipeline's way of saying Ctrl-C. Once is enough: the clean-up must not be interrupted by a second one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    """The document, where it was asked for; else the text of a command whose product is text, and is in no file."""
    if as_json:
        print(json.dumps(document, indent=2, default=str))
    elif "text" in document and "output" not in document:
        print(document["text"], end="")


def _end(problem: Problem, argv: Sequence[str]) -> int:
    """Print the problem, with the command line where its hint says to run it again; returns the exit status."""
    as_json = "--json" in argv
    problem.name_again(shlex.join(["encryptdb", *argv]))
    if not as_json:
        _show(problem.document or {}, as_json)
    print(f"\n{problem.message}", file=sys.stderr)
    if problem.detail:
        print(f"  what it means: {problem.detail}", file=sys.stderr)
    if problem.hint:
        print(f"  what to do:    {problem.hint}", file=sys.stderr)
    if as_json:
        print(_error_document(problem))
    return int(problem.status)


def _error_document(problem: Problem) -> str:
    document = dict(problem.document or {})
    document["error"] = {"message": problem.message, "detail": problem.detail, "hint": problem.hint}
    document["status"] = int(problem.status)
    return json.dumps(document, indent=2, default=str)
