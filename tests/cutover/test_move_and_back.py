"""There, back, and there again, under applications that write all the time."""

from collections.abc import Callable
from typing import Any

import pytest

from encryptdb.controller.commands import cutover, rollback
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import control
from encryptdb.stacks.contract.errors import NotYet, Refused
from tests.cutover.rig import DATABASES, World
from tests.kit.servers import Server
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

SEQUENCES = {
    'public."descending"': "nextval",
    "public.cycling": "nextval",
    "public.cached": "nextval",
    '"Odd ""name"."the; seq"': "nextval",
    "public.owned_id_seq": "nextval",
    "public.never_called": "nothing",
}


def advance_sequences(server: Server, turns: int) -> None:
    for database in DATABASES:
        for name, how in SEQUENCES.items():
            if how == "nextval":
                server.sql("SELECT nextval(%s) FROM generate_series(1, %s)", [name, turns], database)
        server.sql("SELECT setval('never_called', 7, false), setval('at_its_end', 3, true)", database=database)


def states(server: Server) -> dict[str, Any]:
    return {
        f"{database} {name}": server.sql(f"SELECT last_value, is_called FROM {name}", database=database)[0]
        for database in DATABASES
        for name in [*SEQUENCES, "public.at_its_end", "public.ledger_id_seq"]
    }


def test_nothing_is_lost_or_repeated_on_the_way_there_and_back(fresh: Callable[[], World]) -> None:
    world = fresh()
    with world.migration() as m, pytest.raises(NotYet, match="The target has caught up and follows the source"):
        rollback.run(m)

    advance_sequences(world.source, 23)
    with Writers(world.source) as first, world.migration(approved_by="Ada") as m:
        there = cutover.run(m)
    assert there["serving"] == "target"
    assert set(there["end_lsns"]) == set(DATABASES)
    assert states(world.target) == states(world.source)
    assert world.writable(world.target)
    assert not world.writable(world.source)
    assert lost_and_repeated(world.rows(world.target), first) == ([], [])

    # Once more: the same document, and nothing happens.
    with world.migration() as m:
        assert cutover.run(m) | {"databases": there["databases"]} == there
        assert m.source.db().execute("SELECT count(*) FROM encryptdb.fence").fetchone() == (0,)
        assert [e for _, _, e, _ in control.journal(m.the_target)].count("cutover") == 1

    advance_sequences(world.target, 5)
    with Writers(world.target) as second, world.migration() as m:
        back = rollback.run(m)
    assert back["serving"] == "source"
    assert states(world.source) == states(world.target)
    assert world.writable(world.source)
    assert not world.writable(world.target)
    for writers in (first, second):
        assert lost_and_repeated(world.rows(world.source), writers) == ([], [])
    with world.migration() as m:
        assert rollback.run(m) | {"databases": back["databases"]} == back

    with Writers(world.source) as third, world.migration() as m:
        again = cutover.run(m)
        assert observe(m).serving == "target"
    assert (there["epoch"], back["epoch"], again["epoch"]) == (1, 2, 3)
    for writers in (first, second, third):
        assert lost_and_repeated(world.rows(world.target), writers) == ([], [])
    # And the rollback path goes on running: what is written there now arrives.
    with Writers(world.target) as fourth:
        pass
    wait_for(lambda: lost_and_repeated(world.rows(world.source), fourth) == ([], []), "the source to follow the target")
    assert world.rows(world.source) == world.rows(world.target)
    for server in (world.source, world.target):
        # Every statement is logged there; neither a connection string nor a password is among them.
        assert "CREATE SUBSCRIPTION" in server.log_text()
        assert "password=" not in server.log_text().lower().replace(" ", "")


def test_without_a_way_back_the_source_takes_no_connections_for_ever(fresh: Callable[[], World]) -> None:
    world = fresh()
    world.rollback_window = "none"
    with Writers(world.source) as writers, world.migration() as m:
        done = cutover.run(m)
    assert done["rollback_path"] is False
    assert lost_and_repeated(world.rows(world.target), writers) == ([], [])
    assert world.source.sql("SELECT datname FROM pg_database WHERE NOT datallowconn ORDER BY 1") == [
        (name,) for name in sorted([*DATABASES, "template0"])
    ]
    for server in (world.source, world.target):
        assert server.sql("SELECT slot_name FROM pg_replication_slots") == []
        assert server.sql("SELECT subname FROM pg_subscription") == []
    with world.migration() as m:
        assert cutover.run(m) | {"databases": done["databases"]} == done
        with pytest.raises(Refused, match="no rollback path"):
            rollback.run(m)
