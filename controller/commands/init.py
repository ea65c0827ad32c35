"""init: writes the file of a new stack from what AWS says of the live source. Needs no stack."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from encryptdb.controller.commands.arguments import Call, make_command
from encryptdb.controller.init import refusals, yaml_file
from encryptdb.controller.init.found import Found
from encryptdb.controller.init.look import look_at
from encryptdb.controller.init.proposal import Proposal, propose
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.cloud.client import Aws, default_region
from encryptdb.stacks.contract.errors import Failed, Usage

STDOUT = "-"


@dataclass(frozen=True)
class Wanted:
    """The command's arguments. Without `stack` it is called as its source; without `output` the file goes where Pulumi
    looks for it, below the working directory."""

    source: str
    stack: str | None = None
    region: str | None = None
    output: str | None = None
    force: bool = False


def run(wanted: Wanted, reporter: Reporter) -> dict[str, Any]:
    """The JSON document; with the file's `text` where it was asked for on stdout.

    Raises Usage for wrong arguments, before AWS is asked; what `look_at` raises; Failed if the file cannot be written.
    """
    identifier = refusals.identifier(wanted.source)
    stack = refusals.stack_name(wanted.stack or identifier)
    file = None if wanted.output == STDOUT else Path(wanted.output or f"stacks/Pulumi.{stack}.yaml")
    if file is not None:
        _refuse_file(file, wanted.force)
    region = wanted.region or default_region()
    if not region:
        raise Usage(
            "No region is set.",
            detail="Neither --region, AWS_REGION nor the profile names one.",
            hint="Give the source's region, such as --region eu-central-1.",
        )
    reporter.say(f"reading {identifier} in {region}")
    found = look_at(Aws(region), identifier, stack)
    proposal = propose(found)
    text = yaml_file.text(found, proposal)
    _tell(found, proposal, reporter)
    if file is not None:
        _write(file, text, wanted.force)
        reporter.say(f"wrote {file}. Review it, then: pulumi stack init {stack} && pulumi up --stack {stack}")
    return _document(found, proposal, file) | ({"text": text} if file is None else {})


def _refuse_file(file: Path, force: bool) -> None:
    if not file.parent.is_dir():
        raise Usage(
            f"The directory {file.parent} does not exist.",
            hint="Run this in the directory with Pulumi.yaml, or name the file with --output.",
        )
    if file.is_dir():
        raise Usage(f"{file} is a directory.", hint="Name a file with --output.")
    if os.path.lexists(file) and not force:
        raise Usage(
            f"{file} already exists.",
            detail="It was not changed, and AWS was not called.",
            hint="Give another --stack or --output, or overwrite it with --force; --output - writes to stdout instead.",
        )


def _write(file: Path, text: str, force: bool) -> None:
    """Whole or not at all; without `force` never over a file that has come meanwhile."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        if force:
            beside.replace(file)
        else:
            os.link(beside, file)
    except FileExistsError:
        raise Usage(f"{file} already exists.", detail="It was created meanwhile, and not changed.") from None
    except OSError as error:
        raise Failed(f"Could not write {file}: {error.strerror}.", hint="Name another file with --output.") from None
    finally:
        beside.unlink(missing_ok=True)


def _tell(found: Found, proposal: Proposal, reporter: Reporter) -> None:
    source = found.source
    state = "encrypted" if source.encrypted else "not encrypted"
    reporter.say(
        f"{source.words.what} {source.identifier}: {source.engine} {source.engine_version}, {state}, {source.host}"
    )
    for switch in proposal.switches:
        reporter.say(f"switch {switch.document['kind']}: {switch.why}")
    for note in proposal.notes:
        reporter.say(note)
    for unread in found.unread:
        why = f"missing permission {unread.permission}" if unread.permission else unread.why
        reporter.say(f"could not read {unread.what}: {why}")


def _document(found: Found, proposal: Proposal, file: Path | None) -> dict[str, Any]:
    source = found.source
    return {
        "stack": found.stack,
        "file": None if file is None else str(file),
        "source": {
            "identifier": source.identifier,
            "resource_id": source.resource_id,
            "engine": source.engine,
            "version": source.engine_version,
            "region": found.region,
            "host": source.host,
            "port": source.port,
            "encrypted": source.encrypted,
            "kms_key_arn": source.kms_key_arn,
            "parameter_group": source.parameter_group,
        },
        "switches": [dict(switch.document) for switch in proposal.switches],
        "unseen": [{"what": what, "why": why} for what, why in proposal.unseen],
        "notes": list(proposal.notes),
    }


def _call(json: bool, **arguments: Any) -> Call:
    wanted = Wanted(**arguments)
    if json and wanted.output == STDOUT:
        raise Usage("--json and --output - both write to stdout.", hint="Name a file with --output, or omit --json.")
    return Call(lambda reporter: run(wanted, reporter), json)


command = make_command(
    "init",
    _call,
    click.Argument(["source"], metavar="SOURCE"),
    click.Option(["--stack"], metavar="NAME", help="The new stack's name (default: the source's)."),
    click.Option(["--region"], metavar="REGION", help="Where the source is (default: as every AWS tool finds it)."),
    click.Option(["--output"], metavar="FILE", help="Default stacks/Pulumi.NAME.yaml; - is stdout."),
    click.Option(["--force"], is_flag=True, help="Overwrite the file."),
)
