"""Whatever fails at whatever verb: before OPEN the source serves, after it the target does, and nothing is lost.

The one matrix of faults and points: `make test` takes a point for each fault, `make test-all` some more, both picked by
a seed, and `make test-cutover` all of them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.controller.commands import cutover
from tests.cutover.aborts import AFTER_MATRIX, FAULTS, MATRIX, Point, abort_after_open, abort_before_open
from tests.cutover.rig import World, make_world
from tests.kit.samples import sampled
from tests.kit.servers import Server
from tests.kit.writers import Writers, lost_and_repeated

SEED = 4
BEFORE = [case for fault in FAULTS for case in sampled([m for m in MATRIX if m[0] == fault], 1, 1, SEED)]
AFTER = sampled(AFTER_MATRIX, 1, 2, SEED)


@pytest.fixture(scope="module")
def outlasting(blank: Server, room: Path) -> Iterator[World]:
    """One migration that outlives every fault."""
    made = make_world(blank, room / f"outlasting-{blank.data.name}")
    yield made
    made.stop()


@pytest.mark.parametrize(("fault", "point"), BEFORE, ids=str)
def test_before_open_the_source_serves(outlasting: World, fault: str, point: Point) -> None:
    abort_before_open(outlasting, fault, point)


@pytest.mark.parametrize(("fault", "point"), AFTER, ids=str)
def test_after_open_the_command_completes(outlasting: World, fault: str, point: Point) -> None:
    abort_after_open(outlasting, fault, point)


def test_after_all_of_that_the_migration_is_cut_over(outlasting: World) -> None:
    with Writers(outlasting.source, 2) as writers, outlasting.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    assert lost_and_repeated(outlasting.rows(outlasting.target), writers) == ([], [])
