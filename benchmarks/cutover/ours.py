"""The product's own cutover, on the same servers and under the same load as the floor."""

import time
from pathlib import Path

from benchmarks.cutover.floor import Run
from benchmarks.cutover.stage import Load, Pooler, Size
from encryptdb.controller.commands import cutover
from tests.cutover.rig import World, follow
from tests.kit.servers import Server


def cut_over(base: Server, where: Path, size: Size, *, lead: float, seconds: float) -> Run:
    """One cutover on servers of its own: a dry run `lead` seconds after the load began, then the real one."""
    source = base.copy_of_files(where / "source").start()
    try:
        world = follow(source, where / "target", size.names)
        try:
            pooler = Pooler(where, source, size.names)
            try:
                return _cut_over(world, pooler, where, size, lead=lead, seconds=seconds)
            finally:
                pooler.stop()
        finally:
            world.target.stop("immediate")
    finally:
        source.stop("immediate")


def _cut_over(world: World, pooler: Pooler, where: Path, size: Size, *, lead: float, seconds: float) -> Run:
    world.switches = ({"kind": "pgbouncer", "admin": pooler.url, "configFile": str(pooler.ini)},)
    load = Load(where, world.source, pooler, size, seconds)
    time.sleep(lead)
    with world.migration(dry_run=True) as m:
        predicted = cutover.run(m)["predicted_pause_ms"]
    with world.migration() as m:
        done = cutover.run(m)
    assert load.runs, "the load ended before the cutover did: give it more seconds"
    return Run(done["pause_ms"], done["steps_ms"], load.end(world.target), predicted)
