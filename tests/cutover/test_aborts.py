"""Whatever fails at whatever verb: before OPEN the source serves, after it the target does, and nothing is lost.

Here one point of the move for each fault, picked by a seed; `make test-cutover` goes through all of them.
"""

import random
from collections.abc import Callable

from encryptdb.controller.commands import cutover
from tests.cutover.aborts import AFTER_MATRIX, FAULTS, MATRIX, abort_after_open, abort_before_open
from tests.cutover.rig import World
from tests.cutover.writers import Writers, lost_and_repeated

SEED = 4


def test_one_migration_outlives_every_kind_of_fault(fresh: Callable[[], World]) -> None:
    world, chance = fresh(), random.Random(SEED)
    for fault in FAULTS:
        abort_before_open(world, fault, chance.choice([point for f, point in MATRIX if f == fault]))
    abort_after_open(world, *chance.choice(AFTER_MATRIX))
    with Writers(world.source, 2) as writers, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    assert lost_and_repeated(world.rows(world.target), writers) == ([], [])
