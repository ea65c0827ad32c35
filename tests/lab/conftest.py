"""One lab for all tests of the lab that only use it; those that stop or break one start their own."""

from collections.abc import Iterator

import pytest

from tests.lab_fixture import Lab, start_lab

DELAY = 0.15


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with two databases, whose states last long enough to be seen."""
    started = start_lab(tmp_path_factory.mktemp("lab") / "lab", databases=["orders", 'Billing "EU"'], delay=DELAY)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def lab(session_lab: Lab) -> Lab:
    return session_lab
