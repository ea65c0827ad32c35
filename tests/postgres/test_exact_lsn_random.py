"""A sample of what `make test-lsn` does for hours' worth of places: random cuts, judged by every row in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import slot_stream
from tests.postgres import random_cuts
from tests.postgres.random_cuts import Run

SEED = 20240427
SAMPLE = 3


@pytest.fixture(scope="module")
def found(bin_folder: Path, room: Path) -> Iterator[Run]:
    with random_cuts.run(bin_folder, room, f"random-{bin_folder.parent.name}", segments=2) as quarried:
        yield quarried


@pytest.mark.parametrize("number", range(SAMPLE))
def test_replication_from_a_random_cut_ends_in_equal_tables(
    found: Run, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number % 2:
        # As with a long backlog: what lies before the join is skipped by a temporary copy of the slot.
        monkeypatch.setattr(slot_stream, "SKIP_BYTES", 0)
    random_cuts.judge(found, random_cuts.cuts(found, SAMPLE, SEED)[number])
