"""The story, from an empty directory to a proved migration. Reading `tell` is reading what a user does on AWS."""

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from demo import commands, interruptions, proof, sides
from demo.access import Access, ConnectionSecret
from demo.commands import Done
from demo.load import BILLING, DATABASES, ORDERS, Loaded, load
from demo.narrator import Narrator
from demo.pgbench import Pgbench
from demo.pooler import Pooler
from demo.postgres import Login, one
from demo.writers import CLIENTS, Writers

STACK = "demo"
AFTERWARDS = 5.0
"""Seconds for which the writers go on after the cutover."""
COMMAND_DEADLINE = 300.0
"""Seconds after which a command that does not end is taken to be stuck."""
STARTING = 30.0
"""Seconds within which every writer must get a commit through after a restart or a switch."""
READERS_SHOW = 20.0
"""Seconds within which a reader must show what its writer has."""


@dataclass(frozen=True)
class Settings:
    """What to run on, and where to leave the report."""

    engine: str
    pg_bin: Path
    pgbench: Path | None
    pgbouncer: Path | None
    report: Path


@dataclass(frozen=True)
class Scene:
    """The lab's directory, the environment that its users have, and who tells of it."""

    directory: Path
    environment: dict[str, str]
    narrator: Narrator

    def lab(self, command: str, *arguments: str) -> Done:
        return self._run("lab", command, "--dir", str(self.directory / "lab"), *arguments)

    def up(self, **config: str) -> Done:
        """What `pulumi up` does, with changed config."""
        words = [word for key, value in config.items() for word in ("--config", f"{key}={value}")]
        return self.lab("up", "--stack", STACK, *words)

    def controller(self, command: str, *arguments: str) -> Done:
        return self._run("controller", command, "--stack", STACK, *arguments)

    def _run(self, *arguments: str) -> Done:
        self.narrator.say(f"$ python -m {shlex.join(arguments)}")
        done = commands.run(list(arguments), self.environment, self.narrator.overhear, COMMAND_DEADLINE)
        self.narrator.say(f"done in {done.seconds:.1f} s")
        return done


def tell(settings: Settings, narrator: Narrator) -> list[proof.Check]:
    """The whole story; returns what was proved. Everything it started is ended again, however it goes.

    Raises CommandFailed when a command of the story fails, TimeoutError when the writers get nowhere.
    """
    with ExitStack() as cleanup:
        scene = _scene(narrator, cleanup)
        try:
            return _tell(settings, scene, cleanup)
        except (commands.CommandFailed, TimeoutError, psycopg.Error):
            _keep_logs(scene, settings.report.with_name("logs"))
            raise
        finally:
            interruptions.ignore()


def _tell(settings: Settings, scene: Scene, cleanup: ExitStack) -> list[proof.Check]:
    narrator = scene.narrator
    kind = {"rds": "PostgreSQL server", "aurora": "Aurora cluster, a writer and a reader"}[settings.engine]
    narrator.chapter(f"A local AWS with one unencrypted {kind}")
    databases = ("--database", ORDERS, "--database", BILLING)
    started = scene.lab("start", "--engine", settings.engine, "--pg-bin", str(settings.pg_bin), *databases)
    start = started.document["source"]
    source = _master(scene, start)

    narrator.chapter("Two databases that are not toys, and the applications that write to them")
    loaded = load(source, CLIENTS)
    narrator.say(f"{loaded.marker} stands in rows of both databases")
    access, writers = _applications(settings, scene, source, loaded, cleanup)
    writers.start()
    narrator.say(f"{2 * CLIENTS} ledger clients write, and note each commit they are told of")
    narrator.say("pgbench writes beside them" if writers.pgbench else "left out: pgbench, which takes a pooler")

    narrator.chapter("pulumi up, phase prepare: parameter groups and the link between source and target")
    scene.up(source=start["identifier"], phase="prepare", switches=json.dumps([access.switch()]))

    narrator.chapter("prepare: one reboot, then publications, slots and heartbeat, all before the snapshot")
    prepared = scene.controller("prepare", "--allow-reboot")
    writers.clients.wait_until_all_write(time.monotonic(), STARTING)
    narrator.say(f"the writers waited at most {writers.waited(prepared):.1f} s: the reboot, which you schedule")

    how = {
        "rds": "its encrypted copy, a server restored from that",
        "aurora": "restored with the key, as many instances",
    }
    narrator.chapter(f"pulumi up, phase restore: a snapshot, {how[settings.engine]}")
    restored = scene.up(phase="restore").document["outputs"]["target"]
    target = _side(source, restored)

    narrator.chapter("replicate: find the exact LSN, prove it, follow the source from there")
    scene.controller("replicate")
    narrator.say("every commit before that LSN is in the copy, none after it; the target follows from there")

    narrator.chapter("verify: every row of every table, both sides at the same point")
    scene.controller("verify")

    narrator.chapter("cutover, under full load")
    writers.removing.end()
    with target.connect(ORDERS) as connection:
        since: datetime = one(connection, "SELECT clock_timestamp()")[0]
    cutover = scene.controller("cutover")
    writers.clients.wait_until_all_write(time.monotonic(), STARTING)
    narrator.say(f"{cutover.document['pause_ms']} ms without writes; the applications are on the target")
    time.sleep(AFTERWARDS)
    writers.stop()

    narrator.chapter("The proof")
    checks = _prove(source, target, loaded, writers, since)
    if restored.get("readerHost"):
        reader = dataclasses.replace(target, host=restored["readerHost"])
        checks += [_seen_by_readers(database, writers, reader) for database in (ORDERS, BILLING)]
    lab = scene.directory / "lab"
    checks += sides.marker(
        loaded.marker,
        sides.volumes(lab, scene.environment, start),
        sides.volumes(lab, scene.environment, restored),
    )
    checks.append(
        proof.writers_unharmed(
            writers.failures(cutover),
            writers.waited(cutover),
            float(cutover.document["pause_ms"]) / 1000,
            access.holds_back,
        )
    )
    proof.tell(checks, narrator.say)

    narrator.chapter("retire: what the migration made is dropped; what still holds plaintext is listed")
    settings.report.parent.mkdir(parents=True, exist_ok=True)
    # It writes the report first: the evidence lives in the databases that it drops.
    scene.controller("retire", "--end-rollback-window", "--output", str(settings.report))
    scene.up(phase="retire")
    return checks


def _scene(narrator: Narrator, cleanup: ExitStack) -> Scene:
    with interruptions.deferred():
        directory = Path(tempfile.mkdtemp(prefix="encryptdb-demo-"))
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
    # The servers and the pooler run as another user when this is root.
    directory.chmod(0o755)
    # Nothing of the caller's own AWS or PostgreSQL surroundings may reach what runs here.
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PG", "ENCRYPTDB_", "PULUMI_", "LAB_"))}
    scene = Scene(directory, ours, narrator)

    def stop() -> None:
        if (directory / "lab").exists():
            commands.run(["lab", "stop", "--dir", str(directory / "lab")], ours, narrator.overhear, 60)

    cleanup.callback(stop)
    return scene


def _master(scene: Scene, source: Mapping[str, Any]) -> Login:
    """The source's master login; from here on the commands know the lab and the login."""
    scene.environment.update(commands.read_environment(scene.directory / "lab" / "env"))
    scene.environment["ENCRYPTDB_SOURCE_USER"] = source["user"]
    scene.environment["ENCRYPTDB_SOURCE_PASSWORD"] = source["password"]
    ca = scene.environment.get("PGSSLROOTCERT")
    return Login(source["host"], int(source["port"]), source["user"], source["password"], ca)


def _applications(
    settings: Settings, scene: Scene, source: Login, loaded: Loaded, cleanup: ExitStack
) -> tuple[Access, Writers]:
    """The writers, and the way they take to their databases: PgBouncer where it is installed."""
    access: Access
    pgbench = None
    writers_directory = scene.directory / "writers"
    writers_directory.mkdir(mode=0o700)
    if settings.pgbouncer is None:
        scene.narrator.say("left out: PgBouncer, which is not installed; the applications go by a connection secret")
        access = ConnectionSecret(scene.environment, source, loaded.app)
    else:
        with interruptions.deferred():
            pooler = Pooler(
                settings.pgbouncer, scene.directory / "pooler", source, DATABASES, loaded.app, loaded.app_verifier
            )
            cleanup.callback(pooler.stop)
        scene.environment.update(pooler.environment)
        if settings.pgbench:
            pgbench = Pgbench(settings.pgbench, pooler.login, "orders", writers_directory / "pgbench")
        access = pooler
    writers = Writers(writers_directory, access, pgbench)
    cleanup.callback(writers.kill)
    return access, writers


def _side(source: Login, side: Mapping[str, Any]) -> Login:
    # A restored copy has the roles and passwords of the snapshot.
    return Login(side["host"], int(side["port"]), source.user, source.password, source.ca)


def _prove(source: Login, target: Login, loaded: Loaded, writers: Writers, since: datetime) -> list[proof.Check]:
    checks = []
    for database in (ORDERS, BILLING):
        with source.connect(database) as here, target.connect(database) as there:
            checks += [
                proof.every_write_once(database, writers.clients.acknowledged(database), there),
                proof.tables_equal(database, here, there, since),
                proof.sequences_ahead(database, here, there),
            ]
            if database == ORDERS and writers.pgbench:
                checks.append(proof.pgbench_adds_up(writers.pgbench.runs, there))
    app, owner = (source.as_user(login.user, login.password) for login in (loaded.app, loaded.owner))
    insert = "INSERT INTO ledger.entry (client, seq, amount) VALUES (0, 0, 0)"
    checks.append(proof.source_refuses([(ORDERS, app, insert), (BILLING, app, insert), (BILLING, owner, insert)]))
    return checks


def _seen_by_readers(database: str, writers: Writers, reader: Login) -> proof.Check:
    """The same claim as of the writer, read through the reader endpoint; a replica may take a moment to show all."""
    ends = time.monotonic() + READERS_SHOW
    while True:
        with reader.connect(database) as there:
            found = proof.every_write_once(database, writers.clients.acknowledged(database), there)
        if found.holds or time.monotonic() > ends:
            return dataclasses.replace(found, claim=f"{found.claim}, read through the reader endpoint")
        time.sleep(0.2)


def _keep_logs(scene: Scene, kept: Path) -> None:
    """Copy what the servers, the lab and the pooler wrote to `kept`: their directory goes when the story ends."""
    shutil.rmtree(kept, ignore_errors=True)
    for log in scene.directory.rglob("*.log*"):
        # The names tell where each was.
        copy = kept / str(log.relative_to(scene.directory)).replace("/", "+")
        kept.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            shutil.copyfile(log, copy)
    scene.narrator.say(f"the logs are kept in {kept}")
