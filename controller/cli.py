"""The command line: reads arguments, runs one command, prints, and chooses the exit status. Only here.

Heavy modules are imported by the command that needs them, so that --help answers at once.
"""

import argparse
import importlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from encryptdb.stacks.contract.errors import Interrupted, Problem, Status, Usage

COMMANDS = {
    "init": "write the file of a new stack from what AWS says of the live source",
    "preflight": "every problem at once, before or between the steps: what was found, what is needed, the remedy",
    "prepare": "make the source ready for its snapshot",
    "replicate": "join the restored copy at the exact LSN, and follow until it has caught up",
    "status": "state, next step, lag, slot health",
    "verify": "compare every table on both sides, at the same point",
    "cutover": "move the applications to the target (running it is the approval)",
    "rollback": "move them back without losing data, while the rollback window is open",
    "retire": "drop all replication objects; list what still holds plaintext",
    "abandon": "before the cutover has opened the target: the source exactly as it was",
    "plan": "the steps, which are done, what comes next; changes nothing",
    "run": "do the next steps as far as they may go without approval",
    "report": "one self-contained HTML file of what was done and what proves it",
    "adopt": "print what your own infrastructure code needs to take the target over, and how this stack goes",
}

WITHOUT_STACK = ("init",)
"""Commands that come before there is a stack with outputs."""

EXIT_STATUSES = """\
exit status:
  0    reached its goal
  1    failed (a server is silent, a wrong password, a difference was found)
  2    wrong usage or configuration
  3    not yet (infrastructure not there, not caught up, approval missing)
  4    refused, because going on would not be safe
  130  interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m controller",
        description="Moves a live PostgreSQL database on RDS to an encrypted copy of itself.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=EXIT_STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        if name not in WITHOUT_STACK:
            where = sub.add_mutually_exclusive_group(required=True)
            where.add_argument("--stack", metavar="NAME", help="the Pulumi stack; its outputs are asked from pulumi")
            where.add_argument("--outputs", metavar="FILE", help="a file with the stack's outputs as JSON")
        sub.add_argument("--json", action="store_true", help="one JSON document on stdout")
        _add_own(sub, name)
    return top


def _add_own(sub: argparse.ArgumentParser, name: str) -> None:
    if name == "init":
        sub.add_argument("source", metavar="SOURCE", help="its DBInstanceIdentifier or DBClusterIdentifier")
        sub.add_argument("--stack", metavar="NAME", help="the new stack's name (default: the source's)")
        sub.add_argument("--region", metavar="REGION", help="where the source is (default: as every AWS tool finds it)")
        sub.add_argument("--output", metavar="FILE", help="default stacks/Pulumi.NAME.yaml; - is stdout")
        sub.add_argument("--force", action="store_true", help="overwrite the file")
    if name in ("prepare", "abandon", "run"):
        sub.add_argument("--allow-reboot", action="store_true", help="the source may be rebooted now, if it must be")
    if name == "replicate":
        sub.add_argument("--lsn", metavar="X/Y", help="the exact LSN by hand; it is checked like a found one")
    if name == "status":
        sub.add_argument("--watch", action="store_true", help="repeat until interrupted")
    if name in ("cutover", "rollback"):
        sub.add_argument(
            "--max-pause", type=_seconds, default=10.0, metavar="SECONDS",
            help="longest write pause; past it the source serves again (default 10)",
        )  # fmt: skip
    if name == "cutover":
        sub.add_argument("--dry-run", action="store_true", help="all checks and probes; changes nothing")
        sub.add_argument("--approved-by", metavar="WHO", help="who approved, for the journal")
    if name == "retire":
        sub.add_argument(
            "--delete-source", metavar="IDENTIFIER", help="also delete the source instance, without a final snapshot"
        )
    if name == "adopt":
        sub.add_argument("--tool", choices=("pulumi", "terraform"), default="pulumi", help="what the code is for")
        sub.add_argument("--output", metavar="FILE", help="write it there instead of on stdout")
    if name in ("report", "retire"):
        sub.add_argument("--output", metavar="FILE", help="where the report goes (default encryptdb-<stack>.html)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 600:
        raise argparse.ArgumentTypeError("between 0.5 and 600 seconds")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        document = _run_init(arguments) if arguments.command in WITHOUT_STACK else _run(arguments)
    except KeyboardInterrupt:
        return _end(Interrupted("Interrupted.", detail=_INTERRUPTED, hint="Run the command again."), arguments.json)
    except Problem as problem:
        return _end(problem, arguments.json)
    _show(document, arguments.json)
    return Status.OK


_INTERRUPTED = (
    "Nothing was lost: what was done stays done, and the source goes on serving unless it was fenced for good."
)


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    from encryptdb.controller.migration import Options, open_migration
    from encryptdb.controller.stack import read_outputs
    from encryptdb.controller.waiting import Reporter

    options = Options(
        **{
            name: value
            for name, value in vars(arguments).items()
            if name not in ("command", "stack", "outputs", "json")
        }
    )
    outputs = read_outputs(arguments.stack, arguments.outputs)
    m = open_migration(outputs, options, arguments.command, Reporter(sys.stderr))
    try:
        module = importlib.import_module(f"encryptdb.controller.commands.{arguments.command}")
        document: dict[str, Any] = module.run(m)
        return _whole(m, document)
    finally:
        m.close()


def _run_init(arguments: argparse.Namespace) -> dict[str, Any]:
    from encryptdb.controller.commands import init
    from encryptdb.controller.waiting import Reporter

    if arguments.json and arguments.output == init.STDOUT:
        raise Usage("--json and --output - both want stdout.", hint="Take one of them, or name a file with --output.")
    wanted = init.Wanted(arguments.source, arguments.stack, arguments.region, arguments.output, arguments.force)
    document, text = init.run(wanted, Reporter(sys.stderr))
    if text is not None:
        print(text, end="")
    return document


def _whole(m: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Add what every command's document holds, where the command did not."""
    if "state" in document:
        return document
    from encryptdb.controller.observe import observe
    from encryptdb.controller.runner import next_step
    from encryptdb.controller.state import document as base

    observed = observe(m, with_parameter=True)
    following = next_step(m, observed)
    return document | base(m, observed, following.name if following else None)


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


def _end(problem: Problem, as_json: bool) -> int:
    """Say what happened, what it means, what to do."""
    if not as_json:
        _show(problem.document or {}, as_json)
    print(f"\n{problem.message}", file=sys.stderr)
    if problem.detail:
        print(f"  what it means: {problem.detail}", file=sys.stderr)
    if problem.hint:
        print(f"  what to do:    {problem.hint}", file=sys.stderr)
    if as_json:
        document = dict(problem.document or {})
        document["error"] = {"message": problem.message, "detail": problem.detail, "hint": problem.hint}
        document["status"] = int(problem.status)
        print(json.dumps(document, indent=2, default=str))
    return int(problem.status)
