"""The README's way on AWS, line by line: its shell is taken from the page and run, with the real engine, on the lab."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from encryptdb.lab.errors import LabError
from encryptdb.lab.pulumi import cli
from encryptdb.lab.pulumi.cli import Cli
from encryptdb.stacks.contract.outputs import Outputs
from tests.engine.conftest import World
from tests.engine.engines import ROOT, lay_project

SECONDS = 300


def lines_of(heading: str) -> list[str]:
    """The command lines of the first shell block below a heading of the README, comments taken off."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(f"\n### {heading}\n")[1]
    block = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block, f"{heading} has no shell block"
    return [line for text in block.group(1).splitlines() if (line := re.sub(r"(^|\s+)#\s.*$", "", text).strip())]


class Runner:
    """A pipeline's runner: a clone of the project with nothing in it but what the README has put there."""

    def __init__(self, found: Cli, project: Path, world: World) -> None:
        lay_project(project)
        self.cwd = project
        mine = {
            "ENCRYPTDB_SOURCE_USER": world.source["user"],
            "ENCRYPTDB_SOURCE_PASSWORD": world.source["password"],
            # A reader says yes at the prompt; there is no terminal here.
            "PULUMI_SKIP_CONFIRMATIONS": "true",
        }
        self.environment = {**found.environment(), **mine}
        # The outputs are to be asked from Pulumi, as on AWS, and not from what `lab up` keeps.
        self.environment.pop("LAB_DIR")
        # What `pip install -e .` does in a clone: the command runs on its files.
        self.environment["PYTHONPATH"] = str(project)
        self.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self.environment["PATH"]])

    def run(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


class Application(threading.Thread):
    """One row a commit on the source, remembered once it is acknowledged, until the server turns it away."""

    def __init__(self, login: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.login = login
        self.acknowledged: list[int] = []
        self.refused = ""

    def run(self) -> None:
        number = 0
        while not self.refused:
            try:
                with psycopg.connect(**self.login, autocommit=True) as connection:
                    while True:
                        number += 1
                        connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
                        self.acknowledged.append(number)
            except psycopg.OperationalError as error:
                # `prepare` reboots the server, which is no reason to end. Whether the last row is there is not known:
                # its number is not used again.
                if "permission denied for database" in str(error):
                    self.refused = str(error)


def login(world: World, end: Any) -> dict[str, Any]:
    return {
        "host": end.host,
        "port": end.port,
        "user": world.source["user"],
        "password": world.source["password"],
        "dbname": "orders",
        "connect_timeout": 10,
    }


@pytest.fixture
def runner(world: World, tmp_path: Path) -> Runner:
    """A runner without a stack: the README's own lines make it."""
    try:
        return Runner(cli.of(world.directory), tmp_path / "encryptdb", world)
    except LabError as error:
        pytest.skip(error.message)


def test_the_readme_s_lines_are_the_whole_way(world: World, runner: Runner) -> None:
    begin, commands = lines_of("The stack"), lines_of("The commands")
    cutover = next(n for n, line in enumerate(commands) if " cutover " in line)
    for line in begin:
        runner.run(line)
    runner.run(commands[0])
    outputs = ["pulumi", "stack", "output", "--json", "--stack", "orders"]
    before = Outputs.from_json(json.loads(runner.run(" ".join(outputs))))
    with psycopg.connect(**login(world, before.source), autocommit=True) as connection:
        connection.execute("CREATE TABLE ledger (n bigint PRIMARY KEY)")
        connection.execute("CREATE ROLE application LOGIN PASSWORD 'only-here'")
        connection.execute("GRANT SELECT, INSERT ON ledger TO application")
    application = Application(login(world, before.source) | {"user": "application", "password": "only-here"})
    application.start()

    for line in commands[1:cutover]:
        runner.run(line)
    assert application.is_alive()
    runner.run(commands[cutover])
    application.join(timeout=60)
    assert application.refused, "the application is still writing to the source"
    for line in commands[cutover + 1 :]:
        runner.run(line)

    after = Outputs.from_json(json.loads(runner.run(" ".join(outputs))))
    assert after.phase == "retire"
    assert after.target
    assert world.instance(after.target.identifier)["StorageEncrypted"] is True
    with psycopg.connect(**login(world, after.target)) as connection:
        there = [n for (n,) in connection.execute("SELECT n FROM ledger ORDER BY n").fetchall()]
    assert application.acknowledged
    assert set(application.acknowledged) <= set(there)
    assert len(there) == len(set(there))
    # Not acknowledged, and there: at most the one that each lost connection left in doubt.
    assert len(set(there) - set(application.acknowledged)) <= 2


def test_the_block_is_the_one_that_a_reader_sees() -> None:
    """What is run above is not an empty list: each phase and each command of the way is in it."""
    text = "\n".join(lines_of("The commands"))
    for word in ("preflight", "prepare --stack", "replicate", "verify", "cutover", "retire --stack", "phase restore"):
        assert word in text
    assert "encryptdb:source" in "\n".join(lines_of("The stack")) or " init " in "\n".join(lines_of("The stack"))
