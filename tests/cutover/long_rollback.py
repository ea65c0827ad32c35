"""Half a million transactions between a cutover and its rollback. Long: run by `make test-cutover`.

The same in small is in test_move_and_back. ENCRYPTDB_TRANSACTIONS sets another number.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cutover.stage import pgbench
from encryptdb.controller.commands import cutover, rollback
from encryptdb.controller.migration import Migration
from encryptdb.stacks.contract.errors import NotYet
from tests.cutover.rig import World
from tests.cutover.writers import Writers, lost_and_repeated, wait_for
from tests.postgres.servers import Server, run

CLIENTS = 8
EACH = -(-int(os.environ.get("ENCRYPTDB_TRANSACTIONS", "500000")) // CLIENTS)

SCRIPT = """\
\\set n :n + 1
INSERT INTO ledger (who, n) VALUES ('bench' || :client_id, :n);
"""

COUNTED_SQL = "SELECT count(*), count(DISTINCT (who, n)) FROM ledger WHERE who LIKE 'bench%'"


def many_transactions(server: Server, script: Path) -> None:
    """Commit CLIENTS * EACH numbered rows, each acknowledged; pgbench ends with an error where one was not."""
    script.write_text(SCRIPT)
    script.chmod(0o644)
    how_many = ("-c", str(CLIENTS), "-j", "1", "-t", str(EACH), "-n", "-D", "n=0", "-f", script)
    said = run(pgbench(server), *how_many, "-h", "127.0.0.1", "-p", str(server.port), "-U", "app", "app", seconds=3600)
    assert "number of failed transactions: 0 " in said, said


def complete(world: World, server: Server, writers: Sequence[Writers]) -> None:
    """Every acknowledged commit is there, and once."""
    assert server.sql(COUNTED_SQL, database="app") == [(CLIENTS * EACH, CLIENTS * EACH)]
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


def test_half_a_million_transactions_come_back(fresh: Callable[[], World], room: Path) -> None:
    world = fresh()
    with Writers(world.source, 2) as first, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    many_transactions(world.target, room / "many.sql")
    complete(world, world.target, [first])

    wait_for(lambda: _caught_up(world, rollback.run), "the rollback path to catch up", seconds=600)
    with Writers(world.target, 2) as second, world.migration() as m:
        assert rollback.run(m)["serving"] == "source"
    complete(world, world.source, [first, second])

    with Writers(world.source, 2) as third, world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    complete(world, world.target, [first, second, third])
    assert not world.writable(world.source)
