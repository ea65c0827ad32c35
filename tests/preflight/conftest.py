"""One server for each PostgreSQL at hand; a world for each test, which leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.fixtures import plain_connections
from tests.kit.servers import Server, place
from tests.preflight.made import CONTROLLER
from tests.preflight.world import World

__all__ = ["plain_connections"]


@pytest.fixture(scope="package")
def server(blank: Server, room: Path) -> Iterator[Server]:
    """A running server whose role `controller` may do everything. `locked` has a password, all others need none."""
    made = blank.copy_of_files(place(room, "preflight"))
    rules = made.data / "pg_hba.conf"
    rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    made.start(max_connections="40")
    try:
        made.sql(f"CREATE ROLE {CONTROLLER} LOGIN SUPERUSER")
        made.sql("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'the right one'")
        yield made
    finally:
        made.stop("immediate")


@pytest.fixture
def world(server: Server) -> Iterator[World]:
    """The server with one empty database, `shop`."""
    made = World(server)
    made.database("shop")
    try:
        yield made
    finally:
        made.clean()
