"""One lab for all tests of the lab that only use it; those that stop or break one start their own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.lab import Lab, start_lab

DELAY = 0.6
"""Seconds of each state: several times what one look takes on a busy machine, so that none is missed."""


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with two databases, whose states last long enough to be seen."""
    started = start_lab(tmp_path_factory.mktemp("lab") / "lab", databases=["orders", 'Billing "EU"'], delay=DELAY)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def lab(session_lab: Lab) -> Lab:
    return session_lab


@pytest.fixture(scope="session")
def aurora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the cluster orders-prod, of a writer and a reader."""
    started = start_lab(tmp_path_factory.mktemp("aurora") / "lab", delay=DELAY, engine="aurora")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def rds(lab: Lab) -> Any:
    return lab.client("rds")


@pytest.fixture(scope="session")
def create(lab: Lab) -> Callable[..., str]:
    """Makes a small instance of the given name; more arguments go to CreateDBInstance."""

    def make(name: str, **more: Any) -> str:
        lab.create(name, DBName="app", **more)
        return name

    return make


@pytest.fixture(scope="session")
def other(lab: Lab, create: Callable[..., str]) -> str:
    """An instance to be rebooted, stopped and renamed; every test leaves it available."""
    key = lab.client("kms").create_key()["KeyMetadata"]["Arn"]
    name = create("other-1", StorageEncrypted=True, KmsKeyId=key)
    assert (lab.instance(name)["StorageEncrypted"], lab.instance(name)["KmsKeyId"]) == (True, key)
    return name
