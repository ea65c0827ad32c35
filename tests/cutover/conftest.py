"""Fixtures of the move: blank servers of both PostgreSQL versions, and migrations that have caught up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cutover.rig import World, make_world
from tests.postgres import servers
from tests.postgres.conftest import VERSIONS
from tests.postgres.servers import Server


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A directory for the whole session's servers."""
    with servers.room() as path:
        yield path


@pytest.fixture(scope="session", params=VERSIONS)
def blank(request: pytest.FixtureRequest, room: Path) -> Server:
    """A data directory fresh from initdb; whatever depends on this runs once for each version of PostgreSQL."""
    if request.param == "wheel":
        folder = servers.wheel(room)
    else:
        found = servers.newest_system()
        assert found is not None, "apt install postgresql: tests run on the system's server and on the wheel's"
        folder = found
    return servers.blank(folder, room / f"blank-{request.param}")


@pytest.fixture(scope="session")
def world(blank: Server, room: Path) -> Iterator[World]:
    """One migration for every test that leaves it as it found it: following, closed, not moved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSSLMODE", "disable")
        made = make_world(blank, room / f"shared-{len(list(room.iterdir()))}")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def plain_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers have no certificates; the lab's have."""
    monkeypatch.setenv("PGSSLMODE", "disable")


@pytest.fixture
def fresh(blank: Server, room: Path, plain_connections: None) -> Iterator[Callable[[], World]]:
    """Makes worlds of a test's own, and stops them after it."""
    made: list[World] = []

    def make() -> World:
        made.append(make_world(blank, room / f"world-{len(list(room.iterdir()))}"))
        return made[-1]

    yield make
    for world in made:
        world.stop()
