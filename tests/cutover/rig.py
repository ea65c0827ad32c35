"""A migration that has caught up, on plain servers: a source under load, and the copy that follows it.

Made with the controller's own steps, without AWS: what PostgreSQL does is real, and nothing is slow.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from encryptdb.controller.migration import Migration, Observer
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres import connect_privileges, control
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Proof
from encryptdb.controller.records import ExactLSN, Prepared
from encryptdb.controller.steps import isolate, prepare, replicate, slots
from encryptdb.stacks.cloud.client import Aws
from tests.kit import migration as kit
from tests.kit.servers import Server, owner
from tests.kit.writers import Writers

ROOT = Path(__file__).resolve().parents[2]
STACK = "move"
DATABASES = ("app", 'Second "DB"')
"""Two databases: all move together. The second has a name that wants quoting."""

PASSWORD = "master's secret"

TABLES_SQL = """
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text NOT NULL, n bigint NOT NULL);
CREATE SCHEMA "Odd ""name";
CREATE SEQUENCE "Odd ""name"."the; seq" INCREMENT BY 7;
CREATE SEQUENCE descending INCREMENT BY -3 START 1000 MINVALUE -5000 MAXVALUE 1000;
CREATE SEQUENCE cycling MINVALUE 1 MAXVALUE 5 CYCLE;
CREATE SEQUENCE never_called START 42;
CREATE SEQUENCE at_its_end MAXVALUE 3;
CREATE SEQUENCE cached CACHE 50;
CREATE TABLE owned (id serial PRIMARY KEY);
"""

ROLES_SQL = """
CREATE ROLE master LOGIN REPLICATION CREATEDB CREATEROLE PASSWORD 'master''s secret';
GRANT pg_monitor, pg_signal_backend TO master;
CREATE ROLE app_owner LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE "odd ""role" LOGIN;
GRANT app_owner TO master;
"""

RDS_RIGHTS_SQL = """
-- What rds_superuser has, and a master on RDS with it.
GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO master;
GRANT EXECUTE ON FUNCTION pg_replication_origin_advance(text, pg_lsn) TO master;
"""

HBA = """
host all master               127.0.0.1/32 scram-sha-256
host all encryptdb_replication 127.0.0.1/32 scram-sha-256
host all all                  127.0.0.1/32 trust
host replication all          127.0.0.1/32 trust
"""


def fill(source: Server) -> None:
    """The databases that tests move: small, with a sequence of every kind and names that want quoting."""
    for name in DATABASES:
        source.sql(sql.SQL("CREATE DATABASE {} OWNER app_owner").format(sql.Identifier(name)))
        source.sql(TABLES_SQL, database=name)
        source.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO app, master", database=name)
        source.sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app, master", database=name)
        source.sql('GRANT USAGE ON SCHEMA "Odd ""name" TO master', database=name)
        source.sql('GRANT ALL ON ALL SEQUENCES IN SCHEMA "Odd ""name" TO master', database=name)


def make_source(
    blank: Server, where: Path, filling: Callable[[Server], None] = fill, log_statement: str = "all", **settings: str
) -> Server:
    """A running server with an application's databases, and a master that is no superuser where that suffices."""
    source = blank.copy_of_files(where)
    (where / "pg_hba.conf").write_text(HBA)
    source.start(
        log_statement=log_statement,
        max_wal_senders="20",
        max_replication_slots="20",
        max_worker_processes="20",
        # How soon an apply worker that ended is started again: 5 s would be most of the time of these tests.
        wal_retrieve_retry_interval="200ms",
        **settings,
    )
    source.sql(ROLES_SQL)
    source.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
    for name in ("template0", "template1", "postgres"):
        source.sql(RDS_RIGHTS_SQL, database=name)
    source.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS false")
    if source.sql("SHOW server_version_num")[0][0] >= "160000":
        source.sql("GRANT pg_create_subscription TO master")
    else:
        # Below 16 only a superuser may make subscriptions; on RDS rds_superuser may.
        source.sql("ALTER ROLE master SUPERUSER")
    filling(source)
    return source


@dataclass
class World:
    """Both servers, and the migration between them."""

    source: Server
    target: Server
    switches: tuple[Mapping[str, Any], ...] = ()
    rollback_window: str = "7d"
    aws: Any = None
    said: list[str] = field(default_factory=list)

    @contextmanager
    def migration(self, **options: Any) -> Iterator[Migration]:
        """The migration as one command has it."""
        m = migration(self.source.port, self.target.port, self.switches, self.rollback_window, self.said, **options)
        if self.aws is not None:
            m = replace(m, aws=self.aws)
        try:
            yield m
        finally:
            m.close()

    def rows(self, server: Server, database: str = "app") -> list[tuple[Any, ...]]:
        """The ledger of one side, as (who, n), sorted."""
        return server.sql("SELECT who, n FROM ledger ORDER BY 1, 2", database=database)

    def writable(self, server: Server, database: str = "app") -> bool:
        """Whether an application can write there now."""
        try:
            with server.connect(database, user="app") as db:
                # An id of its own: a target that was not moved to has not been given the sequences yet.
                db.execute("INSERT INTO ledger (id, who, n) OVERRIDING SYSTEM VALUE VALUES (-1, 'probe', 0)")
                db.execute("DELETE FROM ledger WHERE id = -1")
        except psycopg.Error:
            return False
        return True

    def stop(self) -> None:
        self.source.stop("immediate")
        self.target.stop("immediate")

    def remove(self) -> None:
        """Stop both servers, and leave nothing of them."""
        self.stop()
        shutil.rmtree(self.source.data.parent)


def make_world(blank: Server, where: Path) -> World:
    """A source with the databases that tests move, and the copy that follows it."""
    where.mkdir()
    shutil.chown(where, owner().pw_uid, owner().pw_gid)
    source = make_source(blank, where / "source")
    return follow(source, where / "target", DATABASES, lambda: Writers(source, 2))


def follow(
    source: Server,
    copied_to: Path,
    databases: Sequence[str],
    load: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> World:
    """Prepare a source, copy it under load, join the copy to it, and let it catch up."""
    outlook = migration(source.port, source.port, (), "7d", [])
    try:
        observed = observe(outlook)
        prepare.make_control(outlook, observed)
        observed = observe(outlook)
        prepare.make_role(outlook, observed)
        prepare.make_heartbeats(outlook, observed)
        for name in databases:
            # The one statement that needs a superuser everywhere but on RDS.
            source.sql(f"CREATE PUBLICATION {outlook.names.publication} FOR ALL TABLES", database=name)
        slots.make_slots(outlook, observe(outlook))
        prepare.make_first_beat(outlook, observe(outlook))
        control.write(outlook.source, Prepared("db-orders", 1, {}, datetime.now(UTC)))
    finally:
        outlook.close()
    with load():
        target = source.freeze_copy(copied_to)
    target.start()
    world = World(source, target)
    with world.migration() as m:
        isolate.isolate(m, observe(m))
        end = target.recovery_end()
        control.write(m.source, ExactLSN(LSN.parse(end), (), Proof(LSN(0), LSN.parse(end), 0, "the test", {})))
        for step in (replicate.make_subscriptions, replicate.advance_origins, replicate.enable, replicate.catch_up):
            step(m, observe(m))
        assert connect_privileges.closed(m.the_target) == set(databases)
    return world


def migration(
    source_port: int,
    target_port: int,
    switches: tuple[Mapping[str, Any], ...],
    rollback_window: str,
    said: list[str],
    **options: Any,
) -> Migration:
    told = kit.outputs(STACK, source_port, target_port, "copy", switches=switches, rollback_window=rollback_window)
    return kit.migration(told, said, Aws(told.region), PASSWORD, **options)


def watched(m: Migration, observer: Observer) -> Migration:
    """The same migration, whose steps and verbs are told to `observer`."""
    return replace(m, observer=observer)


def controller_process(world: World, script: str, max_pause: float = 2.0) -> "subprocess.Popen[str]":
    """Run a piece of Python with `world` rebuilt in it, in a process of its own that can be killed."""
    head = (
        "import os, signal\n"
        "from tests.cutover.rig import migration, watched\n"
        "from encryptdb.controller.commands import cutover\n"
        f"m = migration({world.source.port}, {world.target.port}, {tuple(world.switches)!r}, "
        f"{world.rollback_window!r}, [], max_pause={max_pause})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PGSSLMODE": "disable"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
