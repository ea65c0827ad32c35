"""The documentation against the commands: what a reader would type or look for is really there."""

import ast
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.docs import sections

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ["README.md", "examples/README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[str]:
    """The fenced code blocks of a page in the given languages."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text(page), re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def snippets(page: str) -> Iterator[str]:
    """Every command line of a page: lines of shell blocks, and inline code; comments and line ends taken off."""
    lines = [line for block in blocks(page, "sh", "console", "bash") for line in block.splitlines()]
    without_blocks = re.sub(r"^ *```.*?^ *```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", without_blocks)
    for line in lines:
        for command in re.split(r"&&|\s#\s.*$|\s·\s", line):
            yield command.strip().removeprefix("$ ")


PROGRAMS = {
    "encryptdb": r"encryptdb(?=\s)",
    "lab": r"(?:\S*/)?python3? -m (?:encryptdb\.)?lab\b",
    "stacks": r"(?:\S*/)?python3? -m (?:encryptdb\.)?stacks\b",
}
"""How each of our programs is called in the documentation."""


def calls(page: str, program: str) -> list[list[str]]:
    """The arguments of every command line of a page that calls the program."""
    found = [(re.match(rf"{PROGRAMS[program]}(.*)$", c), c) for c in snippets(page)]
    return [shlex.split(m.group(1)) for m, c in found if m and "(" not in c and "…" not in c]


def parse_encryptdb(arguments: list[str]) -> None:
    from encryptdb.controller.cli import load, parse
    from encryptdb.controller.commands import COMMANDS

    named = {"--stack", "--outputs"} & {*arguments}
    if arguments[0] in COMMANDS and not named and any(p.name == "stack" for p in load(arguments[0]).params):
        arguments = [*arguments, "--stack", "NAME"]
    parse(arguments)


def lab_parser() -> Any:
    from encryptdb.lab import __main__

    return __main__._parser()


def parse_lab(arguments: list[str]) -> None:
    lab_parser().parse_args(arguments if "--dir" in arguments else [*arguments, "--dir", "DIR"])


def parse_stacks(arguments: list[str]) -> None:
    from encryptdb.stacks import __main__

    __main__.parser().parse_args(arguments if "--stack" in arguments else [*arguments, "--stack", "NAME"])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("program", "parse"), [("encryptdb", parse_encryptdb), ("lab", parse_lab), ("stacks", parse_stacks)]
)
def test_every_command_line_is_understood(page: str, program: str, parse: Callable[[list[str]], None]) -> None:
    for arguments in filter(None, calls(page, program)):
        try:
            # A missing --stack or --dir is how prose shortens a command; anything else unknown is a mistake.
            parse(arguments)
        except (SystemExit, click.UsageError) as ended:
            if getattr(ended, "code", 2) != 0:
                pytest.fail(f"{page}: {program} {shlex.join(arguments)}: {ended}")


def test_the_command_has_one_name() -> None:
    """The walk calls every command of a migration, and no page calls one by another name."""
    walked = {arguments[0] for arguments in calls("README.md", "encryptdb")}
    assert walked >= {"init", "preflight", "prepare", "replicate", "verify", "cutover", "rollback", "retire", "abandon"}
    assert [page for page in PAGES if re.search(r"-m (encryptdb\.)?controller \w", text(page))] == []


def controller_options() -> dict[str, set[str]]:
    """Every command with its long options."""
    from encryptdb.controller.cli import load
    from encryptdb.controller.commands import COMMANDS

    return {
        name: {o for p in load(name).params if isinstance(p, click.Option) for o in p.opts if o.startswith("--")}
        for name in COMMANDS
    }


def lab_options() -> dict[str, set[str]]:
    """The lab's commands with their long options."""
    parser = lab_parser()
    subparsers = next(a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict))
    return {
        name: {o for action in sub._actions for o in action.option_strings if o.startswith("--")}
        for name, sub in subparsers.choices.items()
    }


def test_the_readme_names_every_command_and_option_of_the_controller() -> None:
    page = text("README.md")
    missing = []
    for command, found in controller_options().items():
        if not re.search(rf"^\| `{command}` \|", page, re.MULTILINE):
            missing.append(command)
        missing += [f"{command} {option}" for option in found - {"--help"} if f"`{option}" not in page]
    assert missing == []


def test_the_readme_invents_no_option() -> None:
    known = {o for options in (controller_options(), lab_options()) for found in options.values() for o in found}
    # Of the other programs that the page tells to run.
    known |= {"--json"}
    mentioned = {option for snippet in snippets("README.md") for option in re.findall(r"(?<!\S)--[a-z-]+", snippet)}
    assert mentioned - known == set()


def config_keys() -> set[str]:
    """Every key that the only reader of the configuration asks for."""
    readers = {"text", "one_of", "identifier", "boolean", "texts", "secret_arn", "_object"}
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(text("stacks/settings.py")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in readers
        if node.args and isinstance(node.args[0], ast.Constant)
    }


def test_the_readme_tells_every_config_key_and_no_other() -> None:
    table = text("README.md").split("| key (`encryptdb:…`)")[1].split("\n\n")[0]
    told = {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert config_keys(), "nothing was looked at"
    assert told == config_keys()


@pytest.mark.parametrize("page", PAGES)
def test_every_config_key_that_is_mentioned_exists(page: str) -> None:
    tags = set(re.findall(r'"encryptdb:([\w-]+)"', text("stacks/contract/names.py")))
    assert set(re.findall(r"encryptdb:([a-z][\w-]*\w)", text(page))) - config_keys() - tags == set()


def test_the_switches_of_the_readme_are_known_to_program_and_controller() -> None:
    from encryptdb.stacks.contract.names import SWITCH_KINDS

    told = set(re.findall(r"kind: ([\w-]+)", text("README.md")))
    assert told and told <= set(SWITCH_KINDS)


def test_the_table_of_exit_statuses_is_the_one_in_the_code() -> None:
    from encryptdb.stacks.contract.errors import Status

    table = text("README.md").split("### Exit statuses")[1].split("\n\n")[1]
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [int(s) for s in Status]


def environment_variables(package: str) -> set[str]:
    """The names of our own variables in a package's code; where a name is put together, its possible parts."""
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / package).rglob("*.py"))
    names = set(re.findall(r"ENCRYPTDB_[A-Z][A-Z_]*[A-Z]", source))
    return {name for name in names if not name.endswith(("ENCRYPTDB_SOURCE", "ENCRYPTDB_TARGET"))}


def test_every_variable_of_the_controller_is_told() -> None:
    page = text("README.md")
    assert {name for name in environment_variables("controller") if f"`{name}`" not in page} == set()


SERVICES = (
    "backup", "cloudwatch", "dms", "ec2", "iam", "kms", "logs", "rds", "route53", "secretsmanager", "ssm", "sts",
)  # fmt: skip


def aws_operations() -> set[str]:
    """Every AWS operation that the controller and the Pulumi program call themselves, as `service:operation`."""
    found = set()
    for path in [*(ROOT / "controller").rglob("*.py"), *(ROOT / "stacks" / "cloud").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for first, second in itertools.pairwise(node.args):
                    if isinstance(first, ast.Constant) and first.value in SERVICES:
                        found |= {f"{first.value}:{o.replace('_', '')}" for o in operations(second)}
    return found


def operations(node: ast.expr) -> set[str]:
    """The names of operations that an argument may have: written out, or of both kinds of databases."""
    from encryptdb.stacks.cloud.words import CLUSTER, INSTANCE

    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else None for v in node.values]
        return {"".join(str(p or words.noun) for p in parts) for words in (INSTANCE, CLUSTER)}
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "operation"
    (things,) = node.args
    assert isinstance(things, ast.Constant), ast.unparse(node)
    return {words.operation(str(things.value)) for words in (INSTANCE, CLUSTER)}


def policy() -> dict[str, Any]:
    (document,) = (json.loads(b) for b in blocks("README.md", "json") if '"Statement"' in b)
    assert isinstance(document, dict)
    return document


def test_the_policy_allows_every_operation_that_the_code_calls() -> None:
    allowed = {action.lower() for s in policy()["Statement"] for action in s["Action"]}
    called = aws_operations()
    looked_at = {"rds:describedbclustersnapshots", "rds:addtagstoresource", "rds:describedbinstanceautomatedbackups"}
    assert called >= looked_at, "not everything was looked at"
    assert called - allowed == set()


def test_the_policy_deletes_nothing_but_what_it_says() -> None:
    deleting = {a: s["Sid"] for s in policy()["Statement"] for a in s["Action"] if "DeleteDBInstance" in a}
    assert set(deleting.values()) == {"OnlyForRetireWithDeleteSource"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page} → {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{page} → {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    places = "stacks|docs|scripts|benchmarks|demo|lab|controller|examples|tests"
    named = re.findall(rf"`((?:{places})/[\w./-]+\w)`", text(page))
    assert [name for name in named if not (ROOT / name).exists() and "NAME" not in name] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    named = {m for page in PAGES for s in snippets(page) for m in re.findall(r"^make ([a-z]+)", s)}
    assert {"demo", "test"} <= named <= targets


def test_ci_runs_what_the_readme_calls_the_test_command() -> None:
    assert "make test" in text(".ci/run")
    assert "make test" in "\n".join(blocks("README.md", "sh"))


@pytest.mark.parametrize(("file", "name"), sections.SECTIONS)
def test_what_is_printed_from_the_code_is_up_to_date(file: str, name: str) -> None:
    same = (sections.DOCS / file).read_text() == sections.printed(file, name)
    assert same, f"docs/{file} is not what the code says: run `make docs`"
