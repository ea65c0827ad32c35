"""PgBouncer as a switch, with a real one: clients held, re-pointed, resumed; and what it refuses beforehand."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from encryptdb.controller.commands import cutover, rollback
from encryptdb.controller.switches import Endpoint, build
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Usage
from tests.cutover.pooler import Pooler
from tests.cutover.rig import World, controller_process
from tests.kit.servers import place
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

OLD, NEW = Endpoint("127.0.0.1", 5433), Endpoint("localhost", 5444)


@pytest.fixture
def pooler(room: Path) -> Iterator[Callable[..., Pooler]]:
    made: list[Pooler] = []

    def make(host: str = OLD.host, port: int = OLD.port, **more: Any) -> Pooler:
        made.append(Pooler(place(room, "pooler"), host, port, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def switch(document: dict[str, Any], old: Endpoint = OLD, new: Endpoint = NEW) -> Any:
    (made,) = build((document,), old, new, Aws("eu-central-1"))
    return made


def test_clients_behind_it_wait_and_none_fails(fresh: Callable[[], World], pooler: Callable[..., Pooler]) -> None:
    world = fresh()
    one = pooler(port=world.source.port)
    world.switches = (one.switch(),)
    with Writers(world.source, 4, port=one.port, begin="BEGIN") as writers, world.migration() as m:
        there = cutover.run(m)
        count = len(writers.acknowledged)
        # They go on through the same connections, on the other side.
        while len(writers.acknowledged) < count + 20:
            assert not writers.errors
        m.close()
        back = rollback.run(m)
    assert writers.errors == []
    assert lost_and_repeated(world.rows(world.source), writers) == ([], [])
    assert there["steps_ms"]["pause"] > 0 and there["pause_ms"] >= sum(
        there["steps_ms"][verb] for verb in ("pause", "fence", "end markers", "drain", "sequences", "open")
    )
    assert back["serving"] == "source"
    assert one.databases()["app"]["port"] == str(world.source.port)


def test_a_transaction_that_does_not_end_resumes_everyone(
    fresh: Callable[[], World], pooler: Callable[..., Pooler]
) -> None:
    world = fresh()
    one = pooler(port=world.source.port)
    world.switches = (one.switch(),)
    before = one.ini.read_text()
    with one.connect() as stubborn, world.migration(max_pause=1.5) as m:
        stubborn.execute("BEGIN")
        stubborn.execute("SELECT 1")
        with pytest.raises(Failed, match="could not hold its clients") as told:
            cutover.run(m)
        stubborn.execute("COMMIT")
        assert stubborn.execute("SELECT inet_server_port()").fetchone() == (world.source.port,)
    assert "serves again" in (told.value.detail or "")
    assert one.ini.read_text() == before
    assert one.databases()["app"]["paused"] == "0"


def test_a_controller_that_is_killed_does_not_leave_the_clients_waiting(
    fresh: Callable[[], World], pooler: Callable[..., Pooler]
) -> None:
    world = fresh()
    one = pooler(port=world.source.port)
    world.switches = (one.switch(),)
    with Writers(world.source, 2, port=one.port, begin="BEGIN") as writers:
        killed = controller_process(
            world,
            "cutover.run(watched(m, lambda verb, moment: os.kill(os.getpid(), signal.SIGKILL) "
            "if (verb, moment) == ('drain', 'end') else None))",
        )
        _, said = killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL, said
        count = len(writers.acknowledged)
        wait_for(lambda: len(writers.acknowledged) > count + 10, "the guard to resume the clients")
    assert writers.errors == []
    assert one.databases()["app"]["paused"] == "0"
    with world.migration() as m:
        assert cutover.run(m)["serving"] == "target"
    assert lost_and_repeated(world.rows(world.target), writers) == ([], [])


def test_the_file_keeps_everything_but_host_and_port(pooler: Callable[..., Pooler]) -> None:
    one = pooler()
    before, stat = one.ini.read_text(), one.ini.stat()
    made = switch(one.switch())
    made.probe()
    made.pause(2)
    assert {n for n, d in one.databases().items() if d["paused"] == "1"} == {"app", "second"}
    made.apply()
    made.check()
    made.resume()
    after, now = one.ini.read_text(), one.ini.stat()
    assert after == before.replace("host=127.0.0.1 port=5433", "host=localhost port=5444").replace(
        "port='5433' host='127.0.0.1'", "port=5444 host=localhost"
    )
    assert (now.st_mode, now.st_uid, now.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid)
    shown = one.databases()
    assert (shown["app"]["host"], shown["app"]["port"]) == ("localhost", "5444")
    assert (shown["second"]["database"], shown["second"]["port"]) == ('Second "DB"', "5444")
    assert shown["elsewhere"]["host"] == "192.0.2.1"
    assert {d["paused"] for d in shown.values()} == {"0"}
    switch(one.switch(), NEW, OLD).apply()
    assert one.databases()["app"]["port"] == "5433"
    assert one.ini.read_text() == before.replace("'5433'", "5433").replace("'127.0.0.1'", "127.0.0.1")


def test_only_the_pools_that_were_chosen_move(pooler: Callable[..., Pooler]) -> None:
    one = pooler()
    made = switch(one.switch(databases={"second": 'Second "DB"'}))
    made.probe()
    made.apply()
    made.check()
    shown = one.databases()
    assert (shown["app"]["port"], shown["second"]["port"]) == ("5433", "5444")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"admin": "postgresql://admin:secret@127.0.0.1/pgbouncer"},
            Usage,
            r"switches\[0\]\.admin: contains a password",
        ),
        ({"configFile": None}, Usage, r"switches\[0\]\.configFile: expected a string"),
        ({"databases": "app"}, Usage, r"switches\[0\]\.databases"),
        ({"passwordEnv": "NO_SUCH_VARIABLE"}, Usage, r"switches\[0\]\.passwordEnv.*NO_SUCH_VARIABLE"),
        ({"kind": "pgpool"}, Usage, r"switches\[0\]\.kind: unknown kind 'pgpool'"),
        ({"configFile": "/nowhere/pgbouncer.ini"}, Failed, "could not read"),
        ({"databases": ["nope"]}, Refused, "no entry that points to 127.0.0.1:5433 for nope"),
    ],
)
def test_a_wrong_config_is_told_before_anything_happens(
    pooler: Callable[..., Pooler], change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        switch(pooler().switch(**change)).probe()


def test_one_who_may_only_look_is_refused(pooler: Callable[..., Pooler]) -> None:
    one = pooler()
    watcher = one.switch(admin=f"postgresql://watcher@127.0.0.1:{one.port}/pgbouncer")
    with pytest.raises(Failed, match="no permission to PAUSE"):
        switch(watcher).probe()


def test_pooling_by_session_is_refused(pooler: Callable[..., Pooler]) -> None:
    with pytest.raises(Refused, match="pool_mode = session"):
        switch(pooler(mode="session").switch()).probe()
