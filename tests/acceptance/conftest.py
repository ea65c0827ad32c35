"""Every test here has a lab of its own, and leaves nothing of it."""

import sys
from collections.abc import Iterator

import pytest

from tests.acceptance.world import World, fill, make_world, open_directory, stop_world


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = open_directory(tmp_path_factory.mktemp("lab"))
    made = make_world(directory / "lab", ["orders", 'Odd "Db"'], "orders-test")
    try:
        for database in made.source["databases"]:
            fill(made, database)
        yield made
    finally:
        # Shown only where the test failed.
        sys.stdout.write((directory / "lab" / "lab.log").read_text()[-20000:])
        stop_world(directory / "lab")
