"""Labs to look at, and a project directory for the files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.lab import ROOT, Lab, start_lab


def _lab(directory: Path, engine: str) -> Iterator[Lab]:
    made = start_lab(directory / "lab", engine=engine)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def rds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the instance orders-prod. Tests name things of their own by it, and change nothing of the instance."""
    yield from _lab(tmp_path_factory.mktemp("rds"), "rds")


@pytest.fixture(scope="package")
def aurora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the cluster orders-prod, a writer and a reader."""
    yield from _lab(tmp_path_factory.mktemp("aurora"), "aurora")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with no stack yet, as the working directory of the test and as `lab up` finds it."""
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    shutil.copy(ROOT / "__main__.py", tmp_path)
    (tmp_path / "stacks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("encryptdb.lab.pulumi.up.ROOT", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """`lab up` takes the lab's environment for good."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
