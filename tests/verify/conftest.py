"""One running pair for all tests that mend what they break, fresh ones for the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import servers
from tests.kit.fixtures import plain_connections, programs
from tests.verify.pair import Pair, following, make_template

__all__ = ["plain_connections"]


@pytest.fixture(scope="package")
def template(room: Path) -> servers.Server:
    return make_template(programs("system", room), servers.place(room, "system"))


@pytest.fixture(scope="package")
def wheel_template(room: Path) -> servers.Server:
    return make_template(programs("wheel", room), servers.place(room, "wheel"))


@pytest.fixture(scope="package")
def pair(template: servers.Server, room: Path) -> Iterator[Pair]:
    with following(template, room) as made:
        yield made
