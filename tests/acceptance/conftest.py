"""Every test here has a lab of its own, and leaves nothing of it."""

import sys
from collections.abc import Iterator

import pytest

from tests.acceptance.engines import ENGINES
from tests.acceptance.world import World, fill, make_directory, make_world, stop_world


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """RDS, then Aurora: whatever depends on this is told of both."""
    return str(request.param)


@pytest.fixture
def world(engine: str) -> Iterator[World]:
    directory = make_directory()
    made = make_world(directory / "lab", ["orders", 'Odd "Db"'], "orders-test", "--engine", engine)
    try:
        for database in made.source["databases"]:
            fill(made, database)
        yield made
    finally:
        # Shown only where the test failed.
        sys.stdout.write((directory / "lab" / "lab.log").read_text()[-20000:])
        stop_world(directory / "lab")
