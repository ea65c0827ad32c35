"""Fixtures of the move: migrations that have caught up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cutover.rig import World, make_world
from tests.kit.fixtures import plain_connections
from tests.kit.servers import Server, place

__all__ = ["plain_connections"]


@pytest.fixture(scope="session")
def world(blank: Server, room: Path) -> Iterator[World]:
    """One migration for every test that leaves it as it found it: following, closed, not moved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSSLMODE", "disable")
        made = make_world(blank, place(room, "shared"))
    yield made
    made.stop()


@pytest.fixture
def fresh(blank: Server, room: Path, plain_connections: None) -> Iterator[Callable[[], World]]:
    """Makes worlds of a test's own, and stops them after it."""
    made: list[World] = []

    def make() -> World:
        made.append(make_world(blank, place(room, "world")))
        return made[-1]

    yield make
    for world in made:
        world.remove()
