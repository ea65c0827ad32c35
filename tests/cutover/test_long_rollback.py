"""Many transactions between a cutover and its rollback: half a million by `make test-cutover`, and less in
`make test-all`. The same in small is in test_move_and_back."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cutover.stage import pgbench
from encryptdb.controller.commands import cutover, rollback
from encryptdb.controller.migration import Migration
from encryptdb.stacks.contract.errors import NotYet
from tests.cutover.rig import World
from tests.kit.servers import Server, run
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

CLIENTS = 8

SCRIPT = """\
\\set n :n + 1
INSERT INTO ledger (who, n) VALUES ('bench' || :client_id, :n);
"""

COUNTED_SQL = "SELECT count(*), count(DISTINCT (who, n)) FROM ledger WHERE who LIKE 'bench%'"


def many_transactions(server: Server, script: Path, each: int) -> None:
    """Commit CLIENTS * `each` numbered rows, each acknowledged; pgbench ends with an error where one was not."""
    script.write_text(SCRIPT)
    script.chmod(0o644)
    how_many = ("-c", str(CLIENTS), "-j", "1", "-t", str(each), "-n", "-D", "n=0", "-f", script)
    said = run(pgbench(server), *how_many, "-h", "127.0.0.1", "-p", str(server.port), "-U", "app", "app", seconds=3600)
    assert "number of failed transactions: 0 " in said, said


def complete(world: World, server: Server, each: int, writers: Sequence[Writers]) -> None:
    """Every acknowledged commit is there, and once."""
    assert server.sql(COUNTED_SQL, database="app") == [(CLIENTS * each, CLIENTS * each)]
    rows = world.rows(server)
    for one in writers:
        assert lost_and_repeated(rows, one) == ([], [])


def _caught_up(world: World, command: Callable[[Migration], dict[str, Any]]) -> bool:
    with world.migration(dry_run=True) as m:
        try:
            command(m)
        except NotYet:
            return False
    return True


@pytest.mark.parametrize(
    "transactions", [pytest.param(20_000, marks=pytest.mark.full), pytest.param(500_000, marks=pytest.mark.matrix)]
)
def test_all_transactions_come_back(fresh: Callable[[], World], room: Path, transactions: int) -> None:
    world, each = fresh(), transactions // CLIENTS
    with Writers(world.source, 2) as first, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    many_transactions(world.target, room / "many.sql", each)
    complete(world, world.target, each, [first])

    wait_for(lambda: _caught_up(world, rollback.run), "the rollback path to catch up", seconds=600)
    with Writers(world.target, 2) as second, world.migration() as m:
        assert rollback.run(m)["serving"] == "source"
    complete(world, world.source, each, [first, second])

    with Writers(world.source, 2) as third, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    complete(world, world.target, each, [first, second, third])
    assert not world.writable(world.source)
