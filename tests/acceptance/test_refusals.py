"""Everything that can stand in the way ends with its status, in words, and with the source still serving."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.engines import hands
from tests.kit.commands import Ended, World, Writer, ledger
from tests.kit.waits import wait_for

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def prepared(world: World) -> World:
    world.ready("prepared")
    return world


def serves(world: World) -> None:
    """The source takes a write in every database."""
    for database in world.source["databases"]:
        with world.connect(database) as connection:
            connection.execute("INSERT INTO ledger (writer, n) VALUES (50, 1)")


def served(world: World) -> bool:
    try:
        serves(world)
    except psycopg.OperationalError:
        return False
    return True


def told(ended: Ended, status: int) -> str:
    """The command ended with this status, and said what happened, what it means and what to do."""
    assert ended.status == status, ended.told
    assert ended.document["error"]["message"]
    assert ended.document["error"]["hint"], ended.told
    return ended.told


def changed_outputs(world: World, path: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    document = world.outputs()
    change(document)
    path.write_text(json.dumps(document))
    return ["--outputs", str(path), "--json"]


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address where TCP answers and PostgreSQL never does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener.getsockname()


def test_before_there_is_a_target(world: World, tmp_path: Path, silent: tuple[str, int]) -> None:
    assert world.up(source=world.source["identifier"], phase="prepare").status == 0

    # restore before prepare
    early = world.up(phase="restore")
    assert early.status == 3, early.told
    assert "encryptdb prepare" in early.told
    assert world.up(phase="prepare").status == 0

    # replicate and cutover before restore
    assert "prepare" in told(world.controller("replicate"), 3)
    told(world.controller("cutover"), 3)
    told(world.controller("retire"), 3)

    # wrong password
    wrong = world.controller("prepare", env={"ENCRYPTDB_SOURCE_PASSWORD": "not-the-password"})
    assert "ENCRYPTDB_SOURCE_PASSWORD" in told(wrong, 1)
    assert "not-the-password" not in wrong.told

    # no login at all
    told(world.controller("prepare", env={"ENCRYPTDB_SOURCE_PASSWORD": "", "ENCRYPTDB_SOURCE_USER": ""}), 2)

    # a host that does not answer
    def point_away(document: dict[str, Any]) -> None:
        document["source"]["host"], document["source"]["port"] = silent

    options = changed_outputs(world, tmp_path / "silent.json", point_away)
    for command in ("status", "prepare", "preflight"):
        given_up = world.end(world.command("controller", command, *options), seconds=30)
        assert given_up.status == 1, given_up.told
    serves(world)


def test_a_target_that_is_not_the_one_asked_for(world: World, tmp_path: Path) -> None:
    world.ready("restored")

    def other_key(document: dict[str, Any]) -> None:
        document["kmsKeyArn"] = document["kmsKeyArn"][:-4] + "0000"

    options = changed_outputs(world, tmp_path / "key.json", other_key)
    assert "another key" in told(world.end(world.command("controller", "replicate", *options)), 4)

    # The source itself, given as the target: it is not encrypted.
    def not_encrypted(document: dict[str, Any]) -> None:
        document["target"] = document["source"]

    options = changed_outputs(world, tmp_path / "plain.json", not_encrypted)
    assert "not encrypted" in told(world.end(world.command("controller", "replicate", *options)), 4)

    # cutover before caught up
    told(world.controller("cutover"), 3)
    assert world.controller("replicate").status == 0
    serves(world)

    # The copy is silent: nothing goes on, but the source can still be freed, because it alone proves that the
    # copy was never opened.
    identifier = world.outputs()["target"]["identifier"]
    hands(world).stop(identifier)
    wait_for(lambda: hands(world).state(identifier)[0] == "stopped", "the target to be stopped")
    for command in ("status", "verify", "cutover"):
        told(world.controller(command), 1)
    freed = world.controller("abandon")
    assert freed.status == 0, freed.told
    with world.connect("postgres") as connection:
        assert connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
    serves(world)


def test_only_one_controller_at_a_time(prepared: World) -> None:
    holder = prepared.connect("encryptdb")
    try:
        from encryptdb.controller.postgres.control import LOCK_KEY

        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        assert "held by" in told(prepared.controller("prepare"), 4)
    finally:
        holder.close()
    assert prepared.controller("prepare").status == 0
    serves(prepared)


def test_logical_replication_lost_in_between(prepared: World) -> None:
    assert prepared.up(phase="restore").status == 0
    by_hand = hands(prepared)
    with prepared.connect("postgres") as connection:
        # With a slot the server would not even start.
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    identifier = prepared.source["identifier"]
    by_hand.attach(identifier, by_hand.default_group(identifier))
    wait_for(lambda: by_hand.state(identifier) == ("available", "pending-reboot"), "the group to wait for a reboot")
    by_hand.reboot(identifier)
    wait_for(lambda: by_hand.state(identifier) == ("available", "in-sync"), "the reboot")
    serves(prepared)
    told(prepared.controller("replicate"), 4)
    told(prepared.controller("preflight"), 4)
    serves(prepared)


def test_ctrl_c_in_each_command(world: World) -> None:
    def stop(command: str, *options: str, by: signal.Signals, fenced_first: bool = False) -> None:
        process = world.start(command, *options)
        with world.connect("postgres") as connection:
            at_work = partial(met, connection, command, fenced_first)
            wait_for(lambda: at_work() or process.poll() is not None, f"{command} to be at work", every=0.002)
        process.send_signal(by)
        ended = world.end(process, seconds=30)
        assert ended.status == 130, f"{command}: {ended.status} {ended.told}"
        assert ended.document["error"]["hint"]
        if command == "prepare":
            # The reboot that was allowed goes on without us.
            wait_for(lambda: served(world), "the source to serve again")
        serves(world)

    assert world.up(source=world.source["identifier"], phase="prepare").status == 0
    stop("prepare", "--allow-reboot", by=signal.SIGINT)
    assert world.controller("prepare", "--allow-reboot").status == 0
    assert world.up(phase="restore").status == 0
    stop("replicate", by=signal.SIGTERM)
    assert world.controller("replicate").status == 0
    stop("verify", by=signal.SIGINT)
    stop("status", "--watch", by=signal.SIGINT)
    stop("cutover", by=signal.SIGTERM, fenced_first=True)
    assert world.controller("status").document["state"] == "caught-up"
    assert world.controller("cutover").status == 0


def met(connection: Connection, command: str, fenced_first: bool) -> bool:
    """The command is at work: it has a session on the source, or even has fenced it."""
    if fenced_first:
        return fenced(connection)
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s"
    return connection.execute(query, [f"encryptdb {command} %"]).fetchone() is not None


def fenced(connection: Connection) -> bool:
    query = "SELECT 1 FROM pg_database WHERE NOT datallowconn AND NOT datistemplate"
    return connection.execute(query).fetchone() is not None


def test_a_controller_killed_inside_the_pause(world: World) -> None:
    world.ready()
    writers = [Writer(world, database, number) for number, database in enumerate(world.source["databases"])]
    for writer in writers:
        writer.start()
    with world.connect("postgres") as connection:
        process = world.start("cutover", "--max-pause", "4")
        wait_for(lambda: fenced(connection) or process.poll() is not None, "the fence", every=0.001)
        process.kill()
        told = world.end(process).told
        assert fenced(connection), f"the pause was over before the kill, so nothing was tested: {told}"
        wait_for(lambda: not fenced(connection), "the watchdog to lift the fence", seconds=20)
    serves(world)
    moved = world.controller("cutover")
    assert moved.status == 0, moved.told
    for writer in writers:
        writer.side = "target"
    assert world.controller("verify").document["equal"] is True
    for writer in writers:
        writer.stop()
        written = {n: rows for n, rows in ledger(world, writer.database, "target").items() if n < 50}
        assert written == {writer.number: writer.written}
