"""No secret is in any log (the servers' included), JSON, report, state file or process listing."""

import re
from pathlib import Path

from tests.acceptance.engines import hands
from tests.kit.commands import World
from tests.kit.secret_search import ProcessWatch, Search
from tests.kit.waits import wait_for

STORED = re.compile(rb"password=([A-Za-z0-9_-]{43})")
"""The password of the replication role, as it stands in pg_subscription, in the servers' own files."""


def passwords_of_subscriptions(world: World) -> set[str]:
    found: set[str] = set()
    for data in (world.directory / "volumes" / "instances").resolve().glob("*/volume/data"):
        for file in [*(data / "global").iterdir(), *(data / "pg_wal").iterdir()]:
            if file.is_file():
                found |= {match.decode() for match in STORED.findall(file.read_bytes())}
    return found


def test_a_whole_migration_tells_nobody_its_secrets(world: World, tmp_path: Path) -> None:
    # The worst that an owner may have set: everything is logged.
    everything = {"log_statement": "all", "log_min_duration_statement": "0", "log_min_error_statement": "debug5"}
    by_hand = hands(world)
    by_hand.set_parameters(by_hand.parameter_group(world.source["identifier"]), everything)
    with world.connect("postgres") as connection:
        wait_for(lambda: connection.execute("SHOW log_statement").fetchone() == ("all",), "the parameter to be applied")
    master = world.source["password"]
    with ProcessWatch(Search({"master": master})) as watch:
        world.ready()
        assert world.controller("verify").document["equal"] is True
        assert world.controller("cutover").status == 0
        report = world.controller("report", "--output", str(tmp_path / "report.html"))
        assert report.status == 0
        wrong = world.controller("status", env={"ENCRYPTDB_SOURCE_PASSWORD": master[:-1] + "~"})
        assert wrong.status == 1
        stored = passwords_of_subscriptions(world)
        assert len(stored) >= 2, "one for the way there and one for the rollback path"
        assert world.controller("retire", "--end-rollback-window").status == 0
    assert watch.found() == []

    search = Search({"master": master} | {f"replication {n}": word for n, word in enumerate(sorted(stored))})
    assert [found for text in world.transcript for found in search.text(text, "what a command told")] == []
    logs = [*(world.directory / "volumes" / "instances").resolve().glob("*/volume/data/log")]
    assert len(logs) >= 2, "a server on each side at least"
    told = [*logs, world.directory / "lab.log", tmp_path / "report.html"]
    kept = [world.directory / name for name in ("state", "outputs", "config")]
    assert search.paths([*told, *kept]) == []
