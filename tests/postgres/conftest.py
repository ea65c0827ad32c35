"""Real servers: the system's newest PostgreSQL, and with the marker `full` the wheel's as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import servers
from tests.postgres.servers import Server

VERSIONS = ("system", pytest.param("wheel", marks=pytest.mark.full))


def pytest_report_header() -> str:
    return f"PostgreSQL of the system: {servers.newest_system() or 'none, so those tests fail'}; and the wheel's"


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A directory for the whole session's servers."""
    with servers.room() as path:
        yield path


@pytest.fixture(scope="session", params=VERSIONS)
def bin_folder(request: pytest.FixtureRequest, room: Path) -> Path:
    """The PostgreSQL programs; whatever depends on this runs once for each version."""
    if request.param == "wheel":
        return servers.wheel(room)
    found = servers.newest_system()
    assert found is not None, "apt install postgresql: tests run on the system's server and on the wheel's"
    return found


@pytest.fixture(scope="session")
def blank(bin_folder: Path, room: Path) -> Server:
    """A data directory fresh from initdb, never started: copy it with `cp -a` instead of making another."""
    return servers.blank(bin_folder, room / f"blank-{bin_folder.parent.parent.name}-{bin_folder.parent.name}")
