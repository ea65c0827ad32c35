"""A source and a copy of it that follows by logical replication, as `replicate` leaves them; and writers."""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import DatabaseName
from encryptdb.controller.records import Databases, Prepared
from encryptdb.controller.waiting import Reporter
from tests.kit import migration as kit
from tests.kit import servers
from tests.kit.writers import Clients

APP = "app"
NAMES = Names.of("verify")

ROLES = """
CREATE ROLE master LOGIN CREATEROLE CREATEDB;
GRANT pg_monitor, pg_read_all_data, pg_write_all_data TO master;
CREATE ROLE app_owner;
CREATE DATABASE app OWNER app_owner;
GRANT CREATE ON DATABASE app TO master;
GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO master;
CREATE DATABASE encryptdb OWNER master;
"""

TABLES = '''
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text);
INSERT INTO account SELECT g, 0, repeat('x', g % 50) FROM generate_series(1, 12000) g;
CREATE TABLE entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int REFERENCES account, amount int);
CREATE TABLE visit (page text, stay real);
ALTER TABLE visit REPLICA IDENTITY FULL;
INSERT INTO visit VALUES ('/', 0.1), ('/', 0.1), (NULL, 0.3), ('', 0.3);

CREATE SCHEMA "Odd ""schema""";
CREATE TABLE "Odd ""schema"""."t" ("t" int, "select" text, "ctid'" text, gone int, "%s" text,
    PRIMARY KEY ("t", "select"));
ALTER TABLE "Odd ""schema"""."t" DROP COLUMN gone;
INSERT INTO "Odd ""schema"""."t" SELECT g, 'k', 'v', '%s' FROM generate_series(1, 20) g;
CREATE TABLE "Odd ""schema""".nothing ();

CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE every_type (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), j jsonb, js json, f4 real, f8 float8, n numeric, at timestamptz,
    span interval, raw bytea, tags text[], matrix int[][], m mood, p pair, cash money, cls regclass, r int4range,
    b bit varying, ip inet, v tsvector, twice float8 GENERATED ALWAYS AS (f8 * 2) STORED);
INSERT INTO every_type (j, js, f4, f8, n, at, span, raw, tags, matrix, m, p, cash, cls, r, b, ip, v)
SELECT jsonb_build_object('g', g, 'n', 1.10), '{"b": 1,  "a":2}', g / 3.0, g / 7.0::float8, g / 7.0,
       timestamptz '2024-10-27 01:30:00.123456+02' + g * interval '1 hour', interval '1 mon -1 day 00:00:00.5' * g,
       decode(md5(g::text), 'hex'),
       ARRAY['a,b', NULL, '"'], ARRAY[[1, 2], [3, g]], 'ok', (g, 'x,"y')::pair, g, 'account',
       int4range(1, g + 2), B'0101', '10.0.0.1/8', to_tsvector('simple', 'a b' || g)
  FROM generate_series(1, 200) g;

CREATE TABLE event (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_2023 PARTITION OF event FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE event_2024 PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO event SELECT g, date '2023-06-01' + g FROM generate_series(1, 400) g;

CREATE UNLOGGED TABLE scratch (id int);
INSERT INTO scratch VALUES (1);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM account;
CREATE SEQUENCE ticket;
SELECT lo_create(0);
'''

OURS = """
CREATE SCHEMA encryptdb;
CREATE TABLE encryptdb.heartbeat (id int PRIMARY KEY CHECK (id = 1), n bigint NOT NULL, at timestamptz NOT NULL);
INSERT INTO encryptdb.heartbeat VALUES (1, 0, clock_timestamp());
"""


@dataclass
class Pair:
    """Both servers; `subscribe` makes the target follow."""

    source: servers.Server
    target: servers.Server
    said: list[str] = field(default_factory=list)

    @property
    def oid(self) -> int:
        return int(self.source.sql("SELECT oid::bigint FROM pg_database WHERE datname = 'app'")[0][0])

    def side(self, name: str) -> Server:
        """A Server as the controller has it, logged in as a master that is no superuser."""
        if name == "source":
            return kit.side("source", self.source.port)
        return kit.side("target", self.target.port)

    def migration(self) -> Migration:
        """What `verify` and `report` are given. There is no AWS: neither asks it for a decision."""
        return kit.migration(kit.outputs("verify", self.source.port, self.target.port), self.said)

    @property
    def reporter(self) -> Reporter:
        return kit.reporter(self.said)

    def stop(self) -> None:
        for server in (self.source, self.target):
            server.stop("immediate")


def make_template(folder: Path, data: Path) -> servers.Server:
    """A stopped source with tables, heartbeat, publication and slot: `prepare` has been here."""
    server = servers.Server(folder, data).create().start(max_worker_processes="12")
    try:
        with server.connect() as db:
            for statement in ROLES.strip().splitlines():
                db.execute(statement.encode())
        with server.connect(APP) as db:
            # The publisher prints differently by default: the comparison must not depend on it.
            db.execute("ALTER DATABASE app SET DateStyle = 'German'")
            db.execute("ALTER DATABASE app SET extra_float_digits = -5")
            db.execute("SET ROLE app_owner")
            db.execute(TABLES.encode())
        with server.connect(APP, user="master") as db:
            db.execute(OURS.encode())
        with server.connect("encryptdb", user="master") as db:
            db.execute(control.schema())
        oid = server.sql("SELECT oid::bigint FROM pg_database WHERE datname = 'app'")[0][0]
        with server.connect("encryptdb", user="master") as db:
            control.write(db, Databases((DatabaseName(oid, APP),)))
            control.write(db, Prepared("db-source", 1, {}, datetime.now(UTC)))
        with server.connect(APP) as db:
            db.execute(f"CREATE PUBLICATION {NAMES.publication} FOR ALL TABLES".encode())
            db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [NAMES.slot(oid)])
    finally:
        server.stop()
    return server


@contextmanager
def following(template: servers.Server, room: Path, **publisher: str) -> Iterator[Pair]:
    """A running pair made of two copies of the template; the target follows."""
    made = []
    here = Path(tempfile.mkdtemp(prefix=template.data.name, dir=room))
    os.chown(here, servers.owner().pw_uid, servers.owner().pw_gid)
    for name in ("source", "target"):
        data = here / name
        subprocess.run(["cp", "-a", "--reflink=auto", str(template.data), str(data)], check=True)
        made.append(servers.Server(template.bin, data))
    pair = Pair(*made)
    try:
        pair.source.start(max_worker_processes="12", **publisher)
        pair.target.start(
            max_worker_processes="12",
            TimeZone="Asia/Kolkata",
            IntervalStyle="iso_8601",
            wal_retrieve_retry_interval="200ms",
        )
        pair.target.sql("SELECT pg_drop_replication_slot(%s)", [NAMES.slot(pair.oid)])
        follow(pair.target, pair.source, NAMES.slot(pair.oid))
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(here)


def follow(subscriber: servers.Server, publisher: servers.Server, name: str) -> None:
    """A subscription to a slot that is there. Its origin starts where the slot does."""
    subscriber.sql(
        f"CREATE SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port={publisher.port} dbname=app user=postgres' "
        f"PUBLICATION {NAMES.publication} "
        f"WITH (copy_data = false, create_slot = false, slot_name = '{name}')",
        database=APP,
    )


class Writers(Clients):
    """Applications that write without pause, in transactions over several tables, in changing order."""

    def __init__(self, server: servers.Server, clients: int = 3) -> None:
        super().__init__(clients)
        self.server, self.commits = server, 0

    def work(self, number: int) -> None:
        dice = random.Random(number)
        with self.server.connect(APP) as db:
            (mine,) = db.execute("SELECT id FROM every_type ORDER BY id OFFSET %s LIMIT 1", [number]).fetchone() or ()
            while not self.stopping.is_set():
                work = [
                    ("UPDATE account SET balance = balance + 1 WHERE id = %s", [dice.randrange(1, 100) * 7]),
                    ("INSERT INTO entry (account, amount) VALUES (%s, 1)", [dice.randrange(1, 5000)]),
                    ("INSERT INTO visit VALUES (%s, %s)", [f"/{dice.randrange(9)}", dice.random()]),
                    ("UPDATE every_type SET j = j || %s::jsonb, f8 = f8 * 1.1 WHERE id = %s", ['{"x": 1}', mine]),
                ]
                if dice.random() < 0.02:
                    # More than logical_decoding_work_mem: streamed before it commits, where that is on.
                    bulk = "INSERT INTO entry (account, amount) SELECT g, 2 FROM generate_series(1, 2000) g"
                    work.append((bulk, []))
                # Rows are not fought for in different orders: the writers must not be each other's deadlock victims.
                work = dice.sample(work, k=3)
                with db.transaction():
                    for statement, values in work:
                        db.execute(statement.encode(), values)
                self.commits += 1
