"""`make test-lsn`: hundreds of random cuts under mixed load, on every PostgreSQL from 13 to 18.

Collected only by name, because it takes the better part of an hour. ENCRYPTDB_CUTS is the number of cuts for each
version; ENCRYPTDB_SEED chooses others.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import random_cuts, versions
from tests.postgres.random_cuts import Cut, Run

COUNT = int(os.environ.get("ENCRYPTDB_CUTS", "52"))
SEED = int(os.environ.get("ENCRYPTDB_SEED", "20240427"))
PER_RUN = 13
"""Cuts of one run of the load; then the next source is made, with another load."""


@pytest.fixture(scope="module", params=versions.MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def programs(major: int, room: Path) -> Path:
    return versions.programs(major, room)


@pytest.fixture(scope="module", params=range(0, COUNT, PER_RUN))
def quarried(request: pytest.FixtureRequest, major: int, programs: Path, room: Path) -> Iterator[tuple[Run, list[Cut]]]:
    first: int = request.param
    with random_cuts.run(programs, room, f"everywhere-{major}-{first}") as found:
        kept = found.rock.source.sql("SHOW server_version_num")[0][0]
        assert int(kept) // 10000 == major
        yield found, random_cuts.cuts(found, min(PER_RUN, COUNT - first), SEED + 1000 * major + first)


@pytest.mark.parametrize("number", range(PER_RUN))
def test_a_random_cut(quarried: tuple[Run, list[Cut]], number: int, record_property: pytest.FixtureRequest) -> None:
    found, chosen = quarried
    if number < len(chosen):
        random_cuts.judge(found, chosen[number])
