"""The product as its users have it: the lab, `lab up` and the controller, each a process of its own."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg

from tests.kit.lab import ROOT, start_lab
from tests.kit.writers import Application


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


class Writer(Application):
    """An application that writes into the ledger of one database as number `number`, on the server `side`."""

    def __init__(self, world: World, database: str, number: int) -> None:
        super().__init__(lambda: world.connect(database, self.side), writer=number)
        self.database, self.number = database, number
        self.side = "source"


def ledger(world: World, database: str, side: str) -> dict[int, list[int]]:
    """What stands in the ledger, per writer, repeats included."""
    found: dict[int, list[int]] = {}
    with world.connect(database, side) as connection:
        for writer, n in connection.execute("SELECT writer, n FROM ledger ORDER BY writer, n").fetchall():
            found.setdefault(writer, []).append(n)
    return found


@contextmanager
def running(
    engine: str, stack: str = "orders-test", databases: Sequence[str] = ("orders",), pg_bin: Path | None = None
) -> Iterator[World]:
    """A lab of its own with a filled source, and nothing of it left afterwards."""
    # One that the servers' user may walk down to: pytest's own are closed to it where this runs as root.
    directory = Path(tempfile.mkdtemp(prefix="encryptdb-test-"))
    directory.chmod(0o755)
    lab = start_lab(directory / "lab", databases, pg_bin, 0.1, engine)
    try:
        login = {"ENCRYPTDB_SOURCE_USER": lab.source["user"], "ENCRYPTDB_SOURCE_PASSWORD": lab.source["password"]}
        world = World(lab.directory, {**lab.env, **login}, lab.source, stack)
        for database in databases:
            fill(world, database)
        yield world
    finally:
        # Shown only where the test failed.
        sys.stdout.write((lab.directory / "lab.log").read_text()[-20000:])
        lab.stop()
        shutil.rmtree(directory)


def fill(world: World, database: str) -> None:
    """Tables of our own: a ledger without anything to hide a repeat, and some more to move along."""
    with world.connect(database) as connection:
        connection.execute("CREATE TABLE ledger (writer int, n bigint, at timestamptz DEFAULT clock_timestamp())")
        connection.execute("ALTER TABLE ledger REPLICA IDENTITY FULL")
        connection.execute('CREATE TABLE "Odd ""Name""" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc jsonb)')
        connection.execute(
            'INSERT INTO "Odd ""Name""" (doc) SELECT jsonb_build_object(\'n\', n) FROM generate_series(1, 500) n'
        )
