"""Servers that every area starts from: a directory, the programs of a version, a data directory fresh from initdb."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import servers
from tests.kit.servers import Server

VERSIONS = ("system", pytest.param("wheel", marks=pytest.mark.full))
"""What runs once for each version of PostgreSQL takes the system's in `make test`, the wheel's in `make test-all`."""


def programs(which: str, room: Path) -> Path:
    """The folder of PostgreSQL's programs: the system's newest, or the wheel's."""
    if which == "wheel":
        return servers.wheel(room)
    found = servers.newest_system()
    assert found is not None, "apt install postgresql: tests run on the system's server and on the wheel's"
    return found


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A directory for the whole session's servers."""
    with servers.room() as path:
        yield path


@pytest.fixture(scope="session", params=VERSIONS)
def bin_folder(request: pytest.FixtureRequest, room: Path) -> Path:
    """The PostgreSQL programs; whatever depends on this runs once for each version."""
    return programs(request.param, room)


@pytest.fixture(scope="session")
def blank(bin_folder: Path, room: Path) -> Server:
    """A data directory fresh from initdb, never started: copy it with `copy_of_files` instead of making another."""
    return servers.blank(bin_folder, room / f"blank-{bin_folder.parent.parent.name}-{bin_folder.parent.name}")


@pytest.fixture(scope="module", autouse=True)
def plain_connections() -> Iterator[None]:
    """The areas that import this have servers without certificates; the lab's have some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSSLMODE", "disable")
        yield
