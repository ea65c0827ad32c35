"""Every fault at the beginning and at the end of every verb. Long: run by `make test-cutover`, not by `make test`."""

import pytest

from encryptdb.controller.commands import cutover
from tests.cutover.aborts import AFTER_MATRIX, MATRIX, Point, abort_after_open, abort_before_open
from tests.cutover.rig import World
from tests.cutover.writers import Writers, lost_and_repeated


@pytest.mark.parametrize(("fault", "point"), MATRIX, ids=str)
def test_before_open_the_source_serves(world: World, fault: str, point: Point) -> None:
    abort_before_open(world, fault, point)


@pytest.mark.parametrize(("fault", "point"), AFTER_MATRIX, ids=str)
def test_after_open_the_command_completes(world: World, fault: str, point: Point) -> None:
    abort_after_open(world, fault, point)


def test_after_all_of_that_the_migration_is_cut_over(world: World) -> None:
    with Writers(world.source, 2) as writers, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    assert lost_and_repeated(world.rows(world.target), writers) == ([], [])
