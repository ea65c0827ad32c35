"""Every test here has a lab of its own, and leaves nothing of it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.world import World, fill, make_world, stop_world


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("lab")
    # The servers run as another user when this runs as root.
    for parent in (directory, *directory.parents):
        if parent.owner() == directory.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
    made = make_world(directory / "lab", ["orders", 'Odd "Db"'], "orders-test")
    try:
        for database in made.source["databases"]:
            fill(made, database)
        yield made
    finally:
        # Shown only where the test failed.
        sys.stdout.write((directory / "lab" / "lab.log").read_text()[-20000:])
        stop_world(directory / "lab")
