"""One server for each PostgreSQL at hand; a world for each test, which leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import servers
from tests.postgres.servers import Server
from tests.preflight.made import CONTROLLER
from tests.preflight.world import World


@pytest.fixture(autouse=True)
def no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers are plain ones."""
    monkeypatch.setenv("PGSSLMODE", "disable")


@pytest.fixture(scope="package", params=["system", "wheel"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server whose role `controller` may do everything. `locked` has a password, all others need none."""
    with servers.room() as path:
        yield from running(path, request.param)


def running(path: Path, which: str) -> Iterator[Server]:
    folder = servers.newest_system() if which == "system" else servers.wheel(path)
    assert folder is not None, "apt install postgresql: these tests run on the system's server and on the wheel's"
    made = Server(folder, path / "data").create()
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
