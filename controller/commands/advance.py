"""advance: run pulumi up and the controller's commands as far as the phase in the stack's file says.

It stops where a person decides: the reboot, the cutover, the end of the rollback window. Run again, it goes on.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NoReturn

import click

from encryptdb.controller.commands import preflight, prepare, retire, run, status, verify
from encryptdb.controller.commands.arguments import ALLOW_REBOOT, APPROVED_BY, STACK_REQUIRED, Call, make_command
from encryptdb.controller.migration import Options, open_migration
from encryptdb.controller.pulumi_cli import Stack
from encryptdb.controller.stack import parse_outputs
from encryptdb.controller.state import State
from encryptdb.stacks.contract.errors import AGAIN, Failed, Interrupted, NotYet, Problem, Usage

Document = dict[str, Any]
WITHOUT_PREFLIGHT = (State.OPEN, State.ROLLED_BACK, State.RETIRED, State.ABANDONED)


@dataclass
class Job:
    """One run; `done` holds what it did, in order: each `pulumi up` with its counts, and each command."""

    stack: Stack
    options: Options
    done: list[Document] = field(default_factory=list)

    def outputs(self) -> Document:
        """Empty before the first `pulumi up`."""
        return dict(json.loads(self.stack.outputs()))

    def up(self, phase: str) -> None:
        self.done.append({"pulumi": "up", "phase": phase, "changes": self.stack.up(phase)})

    def run(self, command: ModuleType) -> Document:
        """Run one command of the controller, on the outputs as they are now."""
        name = command.__name__.rpartition(".")[2]
        outputs = parse_outputs(self.stack.outputs(), f"pulumi stack output of {self.stack.name}", self.stack.name)
        m = open_migration(outputs, self.options, name, self.stack.reporter)
        try:
            found: Document = command.run(m)
        finally:
            m.close()
        if command not in (status, preflight):
            self.done.append({"command": name} | {key: found[key] for key in ("report", "leftovers") if key in found})
        return found


def advance(stack: Stack, options: Options, secrets_provider: str | None = None) -> Document:
    """Its document: `done`, and `phase` as the stack's file says.

    Raises NotYet where it waits for a person or for AWS, and what the commands raise; each with the document."""
    if not stack.file.is_file():
        raise Usage(f"{stack.file} does not exist.", hint="Run this in the directory with Pulumi.yaml.")
    job = Job(stack, options)
    stack.select(secrets_provider)
    phase, attempt = stack.setting("phase"), stack.setting("attempt")
    with _telling(job, {"stack": stack.name, "phase": phase, "done": job.done}) as document:
        if options.dry_run:
            return document | _dry_run(job, phase, attempt)
        stack.cancel()
        if stack.was_cut_off():
            stack.reporter.say("an earlier update was cut off")
            stack.recover()
        if phase == "prepare":
            job.up("prepare")
            _wait(job)
        if phase == "restore":
            _to_caught_up(job, attempt)
        if phase == "retire":
            if job.run(status)["state"] != State.ABANDONED:
                job.run(retire)
            job.up("retire")
            return document
        raise Usage(f"encryptdb:phase is {phase!r}.", hint=f"Set it to prepare, restore or retire in {stack.file}.")


@contextlib.contextmanager
def _telling(job: Job, document: Document) -> Iterator[Document]:
    """What ends before its goal still tells what was done."""
    try:
        yield document
    except Problem as problem:
        problem.document = document | dict(problem.document or {})
        raise
    except KeyboardInterrupt:
        told = Interrupted("Interrupted.", detail="Completed steps stay done.", hint=AGAIN)
        told.document = document
        raise told from None


def _to_caught_up(job: Job, attempt: str) -> None:
    if str(job.outputs().get("attempt")) != attempt:
        job.up("prepare")
    if job.outputs().get("phase") == "prepare":
        job.run(prepare)
    job.up("restore")
    try:
        _wait(job)
    except NotYet as waits:
        found = waits.document or {}
        if found.get("state") == State.CAUGHT_UP and not (found.get("verified") or {}).get("equal"):
            job.run(verify)
        raise


def _wait(job: Job) -> NoReturn:
    """Do what `run` may do. Raises NotYet for what it waits for, also where the attempt has ended: the file says that
    it goes on."""
    found = job.run(run)
    raise NotYet(f"The migration is {found['state']}.", hint=found["next"])


def _dry_run(job: Job, phase: str, attempt: str) -> Document:
    """Preview the phase that would come first, and run preflight where it is its time. Changes nothing."""
    outputs = job.outputs()
    state = job.run(status)["state"] if outputs.get("attempt") is not None else None
    first = first_phase(phase, attempt, outputs, state)
    preview, succeeded = job.stack.preview(first)
    found: Document = {"state": state, "first_phase": first, "preview": preview, "preflight": None}
    if outputs.get("attempt") is not None and state not in WITHOUT_PREFLIGHT:
        try:
            found["preflight"] = job.run(preflight)
        except Problem as problem:
            problem.document = found | {"preflight": problem.document or {}}
            raise
    if not succeeded:
        failed = Failed("pulumi preview failed.", hint="Correct what its diagnostics name.")
        failed.document = found
        raise failed
    return found


def first_phase(phase: str, attempt: str, outputs: Document, state: str | None) -> str:
    """The phase of the first `pulumi up` of a run that goes to `phase`."""
    if str(outputs.get("attempt")) != attempt or (phase == "restore" and state == State.NOT_PREPARED):
        return "prepare"
    if phase == "retire" and state != State.RETIRED:
        return str(outputs.get("phase"))
    return phase


def _call(stack: str, json: bool, secrets_provider: str | None, **options: Any) -> Call:
    return Call(lambda reporter: advance(Stack(stack, reporter), Options(**options), secrets_provider), json)


command = make_command(
    "advance",
    _call,
    STACK_REQUIRED,
    click.Option(
        ["--dry-run"],
        is_flag=True,
        help="Only preview and preflight of what comes first.",
    ),
    click.Option(["--secrets-provider"], metavar="URL", help="For a stack that does not exist yet."),
    ALLOW_REBOOT,
    APPROVED_BY,
)
