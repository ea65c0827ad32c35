"""states: the table of states, printed from the one that every command asks. Needs no stack."""

import click

from encryptdb.controller import permissions
from encryptdb.controller.commands.arguments import Call, make_command
from encryptdb.controller.permissions import COMMANDS, TABLE, Row, Verdict
from encryptdb.controller.state import Condition, State

DIAGRAM = (
    ("not-prepared", "prepared", "prepare"),
    ("prepared", "restored", "pulumi up (restore)"),
    ("restored", "replicating", "replicate"),
    ("replicating", "caught-up", "replicate"),
    ("caught-up", "moving", "cutover"),
    ("moving", "open", "OPEN"),
    ("moving", "caught-up", "any failure"),
    ("open", "rolled-back", "rollback"),
    ("rolled-back", "moving", "cutover"),
    ("open", "retired", "retire"),
    ("rolled-back", "abandoned", "abandon"),
    ("caught-up", "abandoned", "abandon"),
)
"""The transitions that change the state. From every state before OPEN `abandon` leads to abandoned."""


def text() -> str:
    """The table for a terminal."""
    names = [row.name for row in TABLE]
    width = max(map(len, names))
    lines = [" " * width + "  " + "  ".join(f"{c:<12}" for c in COMMANDS)]
    for row, name in zip(TABLE, names, strict=True):
        lines.append(f"{name:<{width}}  " + "  ".join(f"{_shown(row, c):<12}" for c in COMMANDS))
        lines.append(f"{'':<{width}}  {row.summary} Next: {row.next}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown() -> str:
    """The table and its diagram as docs/states.md has them."""
    arrows = "\n".join(f"    {_id(a)} --> {_id(b)}: {label}" for a, b, label in DIAGRAM)
    rules = "|".join("---" for _ in range(len(COMMANDS) + 1))
    table = "\n".join(
        f"| **{row.name}** | " + " | ".join(_shown(row, command) for command in COMMANDS) + " |" for row in TABLE
    )
    meanings = "\n".join(f"| {row.name} | {row.summary} | `{row.next}` |" for row in TABLE)
    return (
        f"```mermaid\nstateDiagram-v2\n    [*] --> {_id(State.NOT_PREPARED)}\n{arrows}\n```\n\n"
        f"| state, condition | {' | '.join(COMMANDS)} |\n|{rules}|\n{table}\n\n"
        f"| state, condition | what holds | next |\n|---|---|---|\n{meanings}\n"
    )


def _shown(row: Row, command: permissions.Command) -> str:
    cell = row.cells[command]
    return "go" if cell.verdict is Verdict.GO else str(cell.verdict)


def _id(state: str) -> str:
    return state.replace("-", "_")


def _callback(markdown_: bool, json: bool) -> Call:
    document = {
        "states": [
            {
                "state": row.state,
                "condition": row.condition,
                "summary": row.summary,
                "next": row.next,
                "commands": {command: row.cells[command].verdict for command in COMMANDS},
            }
            for row in TABLE
        ],
        "conditions": list(Condition),
        "text": markdown() if markdown_ else text(),
    }
    return Call(lambda reporter: document, json)


command = make_command(
    "states",
    _callback,
    click.Option(["--markdown", "markdown_"], is_flag=True, help="Print Markdown, with the diagram."),
)
