"""A command whose product is text: on stdout, unless a document was asked for or a file took it."""

from typing import Any

import pytest

from encryptdb.controller import cli
from encryptdb.stacks.contract.errors import NotYet


@pytest.mark.parametrize(
    ("document", "as_json", "shown"),
    [
        ({"text": "the page\n"}, False, "the page\n"),
        ({"text": "the page\n", "output": "FILE"}, False, ""),
        ({"report": "FILE"}, False, ""),
    ],
)
def test_text_is_printed_as_it_is(
    document: dict[str, Any], as_json: bool, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli._show(document, as_json)
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(("as_json", "begins"), [(False, "the page"), (True, "{")])
def test_before_its_turn_the_page_is_printed_once_and_the_problem_told(
    as_json: bool, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = NotYet("The migration is not retired yet.")
    problem.document = {"text": "the page\n"}
    assert cli._end(problem, ["adopt", "--json"] if as_json else ["adopt"]) == 3
    printed = capsys.readouterr()
    assert printed.out.startswith(begins)
    assert printed.out.count("the page") == 1
    assert "not retired" in printed.err


@pytest.mark.parametrize("tool", ["cloudformation", ""])
def test_a_tool_that_it_does_not_write_for(tool: str) -> None:
    assert cli.main(["adopt", "--stack", "x", "--tool", tool]) == 2
