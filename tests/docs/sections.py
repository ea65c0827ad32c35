"""The parts of docs/ that are printed from the code, between markers: `make docs` writes them, a test compares them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from encryptdb.controller.commands.states import markdown
from encryptdb.controller.preflight.checks import SUBJECTS, of

DOCS = Path(__file__).resolve().parents[2] / "docs"


def checks() -> str:
    """Every preflight check, by subject."""
    lines: list[str] = []
    for subject, module in SUBJECTS.items():
        lines += [f"### {subject}", "", "| check | what holds when it passes, and why | when | severity |"]
        lines += ["|---|---|---|---|"]
        for check in of(module):
            words = f"**{check.title}.** {check.why}".strip()
            lines.append(f"| `{check.id}` | {words} | {check.stages} | {check.severity} |")
        lines.append("")
    return "\n".join(lines)


SECTIONS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("preflight.md", "checks"): checks,
    ("states.md", "states"): markdown,
}
"""(file, name of the markers) → what stands between them."""


def printed(file: str, name: str) -> str:
    """The whole file with its section as the code has it."""
    start, end = f"<!-- {name}: printed by `make docs` -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = (DOCS / file).read_text().partition(start)
    _, ended, after = rest.partition(end)
    assert found and ended, f"docs/{file} has no markers for {name}"
    return f"{before}{start}\n{SECTIONS[file, name]()}\n{end}{after}"


if __name__ == "__main__":
    for file, name in SECTIONS:
        (DOCS / file).write_text(printed(file, name))
