"""One running pair for all tests that mend what they break, fresh ones for the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import servers
from tests.verify.pair import Pair, following, make_template


@pytest.fixture(autouse=True)
def no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers are plain ones."""
    monkeypatch.setenv("PGSSLMODE", "disable")


@pytest.fixture(scope="package")
def room() -> Iterator[Path]:
    with servers.room() as path:
        yield path


@pytest.fixture(scope="package")
def template(room: Path) -> servers.Server:
    folder = servers.newest_system()
    assert folder is not None, "apt install postgresql: these tests run on the system's server and on the wheel's"
    return make_template(folder, room / "system")


@pytest.fixture(scope="package")
def wheel_template(room: Path) -> servers.Server:
    return make_template(servers.wheel(room), room / "wheel")


@pytest.fixture(scope="package")
def pair(template: servers.Server, room: Path) -> Iterator[Pair]:
    with following(template, room) as made:
        yield made
