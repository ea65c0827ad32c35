"""The search for secrets finds them: a search that cannot would make every other test of secrecy worthless."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.kit.secret_search import CHUNK, ProcessWatch, Search, wait_for_sample

SECRET = 'pä/ss+w"rd &42'
SEARCH = Search({"the master's": SECRET})


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["base64", "base64url"])
def test_found_in_base64_whatever_stands_around_it(before: str, encode: object) -> None:
    hidden = encode(f"{before}{SECRET}zz".encode())  # type: ignore[operator]
    assert [f.secret for f in SEARCH.text(b"{" + hidden + b"}", "here")] == ["the master's"]


@pytest.mark.parametrize(
    "hidden",
    [
        f"password={SECRET}",
        quote(SECRET, safe=""),
        json.dumps({"p": SECRET}),
        json.dumps({"p": SECRET}, ensure_ascii=False).replace('\\"', '"'),
        SECRET.encode().hex(),
        SECRET.encode("utf-16-le"),
        SECRET.encode("utf-16-be"),
    ],
)
def test_found_in_every_form(hidden: str | bytes) -> None:
    assert [f.secret for f in SEARCH.text(hidden, "here")] == ["the master's"]


def test_what_is_reported_does_not_hold_the_secret() -> None:
    (found,) = SEARCH.text(f"{SECRET}", "here")
    assert SECRET not in repr(found)


def test_nothing_is_found_where_nothing_is() -> None:
    assert SEARCH.text('pä/ss+w"rd &4', "here") == []


def test_found_in_files_also_where_two_reads_meet(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(b"x" * (CHUNK - 5) + SECRET.encode() + b"x")
    (tmp_path / "clean").write_text("clean")
    assert [Path(f.where).name for f in SEARCH.paths([tmp_path])] == ["log"]


def test_a_search_of_nothing_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        SEARCH.paths([tmp_path / "missing"])
    with pytest.raises(ValueError, match="nothing to search for"):
        Search({})
    with pytest.raises(ValueError, match="too short"):
        Search({"short": "abc"})


@pytest.mark.parametrize(("environments", "found"), [(False, []), (True, ["environ of a process"])])
def test_seen_in_the_processes_that_run(environments: bool, found: list[str]) -> None:
    search = Search({"argument": "argument-47110815", "variable": "variable-47110815"})
    with ProcessWatch(search, environments=environments) as watch:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()", "--password=argument-47110815"],
            stdin=subprocess.PIPE,
            env={"PASSWORD": "variable-47110815"},
        )
        wait_for_sample(watch)
        child.communicate(b"\n", timeout=30)
    assert {f.where for f in watch.found() if f.secret == "argument"} == {"cmdline of a process"}
    assert sorted({f.where for f in watch.found() if f.secret == "variable"}) == found
