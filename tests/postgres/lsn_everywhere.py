"""`make test-lsn`: hundreds of random cuts under mixed load, on every PostgreSQL from 13 to 18.

Collected only by name, because it takes the better part of an hour. ENCRYPTDB_RUNS is the number of runs of the load on
each version, each cut at 13 places; ENCRYPTDB_SEED chooses other places.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import slot_stream
from tests.postgres import random_cuts, versions
from tests.postgres.random_cuts import Cut, Run

RUNS = int(os.environ.get("ENCRYPTDB_RUNS", "4"))
SEED = int(os.environ.get("ENCRYPTDB_SEED", "20240427"))
CUTS_OF_A_RUN = 13


@pytest.fixture(scope="module", params=versions.MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def programs(major: int, room: Path) -> Path:
    return versions.programs(major, room)


@pytest.fixture(scope="module", params=range(RUNS), ids=lambda number: f"run{number}")
def quarried(request: pytest.FixtureRequest, major: int, programs: Path, room: Path) -> Iterator[tuple[Run, list[Cut]]]:
    number: int = request.param
    with random_cuts.run(programs, room, f"everywhere-{major}-{number}") as found:
        [(version,)] = found.rock.source.sql("SELECT current_setting('server_version_num')::int / 10000")
        assert version == major
        yield found, random_cuts.cuts(found, CUTS_OF_A_RUN, SEED + 100 * major + number)


@pytest.mark.parametrize("number", range(CUTS_OF_A_RUN))
def test_a_random_cut(quarried: tuple[Run, list[Cut]], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if number % 2:
        # As with a long backlog: what lies before the join is skipped by a temporary copy of the slot.
        monkeypatch.setattr(slot_stream, "SKIP_BYTES", 0)
    found, chosen = quarried
    random_cuts.judge(found, chosen[number])
