"""Every test here has a lab of its own, and leaves nothing of it."""

from collections.abc import Iterator

import pytest

from tests.acceptance.engines import ENGINES
from tests.kit.commands import World, running

ALWAYS = {
    "test_an_unencrypted_server_becomes_an_encrypted_one_under_load": ("rds", "aurora"),
    "test_before_there_is_a_target": ("rds",),
    "test_an_unknown_stack": ("rds",),
}
"""What `make test` takes of this area, and on which engines: one whole flow of each, and refusals. The rest is in
`make test-all`: these tests cost more than all others together."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """RDS, then Aurora: whatever depends on `engine` is told of both."""
    if "engine" in metafunc.fixturenames:
        always = ALWAYS.get(metafunc.function.__name__, ())
        given = [pytest.param(e, marks=() if e in always else pytest.mark.full) for e in ENGINES]
        metafunc.parametrize("engine", given, scope="session")


@pytest.fixture
def world(engine: str) -> Iterator[World]:
    with running(engine, databases=("orders", 'Odd "Db"')) as made:
        yield made
