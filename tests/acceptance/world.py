"""The product as its users have it: the lab, `lab up` and the controller, each a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg import sql

ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    """A finished command: its exit status, its JSON document (None where it printed none), what it told."""

    status: int
    document: Any
    told: str


@dataclass
class World:
    """A lab with one source, and a stack for it."""

    directory: Path
    env: dict[str, str]
    source: dict[str, Any]
    stack: str
    transcript: list[str] = field(default_factory=list)

    def command(self, *arguments: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: "subprocess.Popen[str]", seconds: float = 180) -> Ended:
        try:
            out, told = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, told = process.communicate()
            raise AssertionError(f"{process.args} did not end:\n{told}") from None
        self.transcript += [out, told]
        return Ended(process.returncode, json.loads(out) if out.strip() else None, told)

    def up(self, **config: Any) -> Ended:
        given = [f"--config={k}={v if isinstance(v, str | int) else json.dumps(v)}" for k, v in config.items()]
        where = ["--dir", str(self.directory), "--stack", self.stack]
        return self.end(self.command("lab", "up", *where, "--json", *given))

    def controller(self, command: str, *options: str, env: dict[str, str] | None = None) -> Ended:
        return self.end(self.start(command, *options, env=env))

    def start(self, command: str, *options: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        return self.command("controller", command, "--stack", self.stack, "--json", *options, env=env)

    def aws(self, service: str) -> Any:
        session: Any = boto3.session.Session("test", "test", region_name=self.env["AWS_REGION"])
        return session.client(service, endpoint_url=self.env["AWS_ENDPOINT_URL"])

    def outputs(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.directory / "outputs" / f"{self.stack}.json").read_text())
        return document

    def connect(self, database: str, side: str = "source", **given: Any) -> "psycopg.Connection[tuple[Any, ...]]":
        end = self.source if side == "source" else self.outputs()["target"]
        login = {"user": self.source["user"], "password": self.source["password"]} | given
        return psycopg.connect(
            host=end["host"],
            port=end["port"],
            dbname=database,
            sslmode=self.env.get("PGSSLMODE", "verify-full"),
            sslrootcert=self.env.get("PGSSLROOTCERT"),
            autocommit=True,
            connect_timeout=5,
            **login,
        )

    def ready(self, phase: str = "caught-up") -> None:
        """Bring a fresh world to the given state by the documented commands."""
        assert self.up(source=self.source["identifier"], phase="prepare").status == 0
        assert self.controller("prepare", "--allow-reboot").status == 0
        if phase == "prepared":
            return
        assert self.up(phase="restore").status == 0
        if phase == "restored":
            return
        assert self.controller("replicate").status == 0


class Writer(threading.Thread):
    """An application: one row a commit, remembered once the commit is acknowledged; reconnects for ever.

    `where` gives the address to connect to, so that a test can move it to the target.
    """

    def __init__(self, world: World, database: str, number: int, table: str = "ledger") -> None:
        super().__init__(daemon=True)
        self.world, self.database, self.number, self.table = world, database, number, table
        self.side = "source"
        self.acknowledged: list[int] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        insert = sql.SQL("INSERT INTO {} (writer, n) VALUES (%s, %s)").format(sql.Identifier(self.table))
        known = sql.SQL("SELECT max(n) FROM {} WHERE writer = %s").format(sql.Identifier(self.table))
        n = 0
        while not self.stopping.is_set():
            try:
                with self.world.connect(self.database, self.side) as connection:
                    # A commit whose answer was lost did happen, or did not: the table knows.
                    row = connection.execute(known, [self.number]).fetchone()
                    if row and row[0] is not None and row[0] > n:
                        self.acknowledged += range(n + 1, row[0] + 1)
                        n = row[0]
                    while not self.stopping.is_set():
                        connection.execute(insert, [self.number, n + 1])
                        n += 1
                        self.acknowledged.append(n)
                        time.sleep(0.002)
            except (psycopg.Error, OSError):
                time.sleep(0.05)

    def stop(self) -> None:
        self.stopping.set()
        self.join(20)


def ledger(world: World, database: str, side: str) -> dict[int, list[int]]:
    """What stands in the ledger, per writer, repeats included."""
    found: dict[int, list[int]] = {}
    with world.connect(database, side) as connection:
        for writer, n in connection.execute("SELECT writer, n FROM ledger ORDER BY writer, n").fetchall():
            found.setdefault(writer, []).append(n)
    return found


def make_world(directory: Path, databases: list[str], stack: str, *more: str) -> World:
    """Start a lab with a source of its own. The caller stops it with `stop_world`."""
    given = [f"--database={name}" for name in databases]
    answer = subprocess.run(
        [sys.executable, "-m", "lab", "start", "--dir", str(directory), "--json", "--delay", "0.1", *given, *more],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    started = json.loads(answer.stdout)
    # Nothing of the caller's own surroundings, or of another test's, may reach the commands.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "AWS_", "ENCRYPTDB_", "LAB_"))}
    for line in (directory / "env").read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name and not name.startswith("#"):
            env[name] = value.strip("'\"")
    env["ENCRYPTDB_SOURCE_USER"] = started["source"]["user"]
    env["ENCRYPTDB_SOURCE_PASSWORD"] = started["source"]["password"]
    return World(directory, env, started["source"], stack)


def make_directory() -> Path:
    """A directory that the servers' user may walk down to: pytest's own are closed to it where this runs as root."""
    directory = Path(tempfile.mkdtemp(prefix="encryptdb-test-"))
    directory.chmod(0o755)
    return directory


def stop_world(directory: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "lab", "stop", "--dir", str(directory)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    shutil.rmtree(directory.parent)


def fill(world: World, database: str) -> None:
    """Tables of our own: a ledger without anything to hide a repeat, and some more to move along."""
    with world.connect(database) as connection:
        connection.execute("CREATE TABLE ledger (writer int, n bigint, at timestamptz DEFAULT clock_timestamp())")
        connection.execute("ALTER TABLE ledger REPLICA IDENTITY FULL")
        connection.execute('CREATE TABLE "Odd ""Name""" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc jsonb)')
        connection.execute(
            'INSERT INTO "Odd ""Name""" (doc) SELECT jsonb_build_object(\'n\', n) FROM generate_series(1, 500) n'
        )


def wait(true: Callable[[], bool], seconds: float = 60, every: float = 0.1) -> None:
    """Wait until something is true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(every)
