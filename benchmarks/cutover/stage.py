"""What floor and product are measured on: servers with pgbench's tables, a PgBouncer in front, clients at full speed.

Both get the same: copies of one data directory, the same settings, the same pooler, the same load.
"""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.cutover.rig import make_source
from tests.kit.servers import Server, free_port, owner, run

SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",
    "fsync": "on",
    "autovacuum": "on",
    "max_logical_replication_workers": "12",
}

SCRIPT = """\
\\set n :n + 1
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, client, n)
VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP, :client_id, :n);
END;
"""
"""pgbench's own transaction; its history also says which client wrote it, and as its how manieth."""

INI = """\
[databases]
{entries}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
admin_users = admin
unix_socket_dir =
logfile = {log}
pidfile =
default_pool_size = 20
"""


@dataclass(frozen=True)
class Size:
    """How much is moved: `clients` in all, over so many databases, each with its sequences and pgbench scale."""

    clients: int
    databases: int
    sequences: int
    scale: int

    @property
    def names(self) -> list[str]:
        return [f"bench{i}" for i in range(self.databases)]

    def clients_of(self, number: int) -> int:
        """The clients of one database: as even a share as there can be, at least one."""
        return max(1, self.clients // self.databases + (number < self.clients % self.databases))


def base(blank: Server, where: Path, size: Size) -> Server:
    """The stopped server that every measurement copies."""

    def fill(source: Server) -> None:
        for name in size.names:
            source.sql(sql.SQL("CREATE DATABASE {} OWNER app").format(sql.Identifier(name)))
            where_it_is = ("-h", "127.0.0.1", "-p", str(source.port), "-U", "app")
            run(pgbench(source), "-i", "-q", "-s", str(size.scale), *where_it_is, name)
            # No primary key: a row that is applied twice is seen, not refused.
            source.sql("ALTER TABLE pgbench_history ADD client int, ADD n bigint", database=name)
            source.sql("CREATE TABLE marker (id int PRIMARY KEY, n bigint)", database=name)
            source.sql("INSERT INTO marker VALUES (1, 0)", database=name)
            with source.connect(name, user="app") as db:
                for first in range(0, size.sequences, 500):
                    some = (sql.Identifier(f"s{i}") for i in range(first, min(first + 500, size.sequences)))
                    db.execute(sql.SQL("; ").join(sql.SQL("CREATE SEQUENCE {}").format(name) for name in some))
                # Of those that were never called the floor would have nothing to copy.
                db.execute("SELECT count(nextval(seqrelid::regclass)) FROM pg_sequence")
        source.sql("GRANT app TO master")
        source.sql("CHECKPOINT")

    made = make_source(blank, where, fill, log_statement="none", **SETTINGS | {"fsync": "off"})
    made.stop()
    made.settings |= SETTINGS
    return made


def pgbench(server: Server) -> Path:
    """The server's own pgbench; the newest of the machine where its package has none."""
    found = [server.bin / "pgbench", *sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)]
    return next(path for path in found if path.exists())


class Pooler:
    """A PgBouncer in front of `server`."""

    def __init__(self, where: Path, server: Server, names: Sequence[str]) -> None:
        self.port, self.ini, self.names = free_port(), where / "pgbouncer.ini", names
        self.log = where / "pgbouncer.log"
        self.point_to(server)
        shutil.chown(self.ini, owner().pw_uid, owner().pw_gid)
        binary = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
        assert binary is not None, "apt install pgbouncer"
        self.process = subprocess.Popen([binary, "-q", str(self.ini)], **_as_owner())  # type: ignore[call-overload]
        self.admin = self._connect()

    def point_to(self, server: Server) -> None:
        """Write the file: all databases are on `server`."""
        entries = "\n".join(f"{n} = host=127.0.0.1 port={server.port} dbname={n} user=app" for n in self.names)
        self.ini.write_text(INI.format(entries=entries, port=self.port, log=self.log))

    @property
    def url(self) -> str:
        return f"postgresql://admin@127.0.0.1:{self.port}/pgbouncer"

    def _connect(self) -> "psycopg.ClientCursor[tuple[object, ...]]":
        deadline = time.monotonic() + 10
        while True:
            try:
                admin = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
                return psycopg.ClientCursor(admin)
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@dataclass
class Seen:
    """What the clients saw, and what of it stands on the server that they ended on."""

    transactions: int = 0
    failed: int = 0
    lost: int = 0
    repeated: int = 0
    worst_latency_ms: float = 0.0


class Load:
    """pgbench's clients through the pooler, for `seconds`."""

    def __init__(self, where: Path, server: Server, pooler: Pooler, size: Size, seconds: float) -> None:
        self.where, self.size = where, size
        script = where / "transaction.sql"
        script.write_text(SCRIPT)
        self.processes = [self._start(i, name, server, pooler, script, seconds) for i, name in enumerate(size.names)]

    def _start(
        self, number: int, name: str, server: Server, pooler: Pooler, script: Path, seconds: float
    ) -> "subprocess.Popen[str]":
        size = self.size
        threads = 2 if size.databases == 1 else 1
        how_much = ["-c", str(size.clients_of(number)), "-j", str(threads), "-T", str(round(seconds))]
        what = ["-n", "-s", str(size.scale), "-D", "n=0", "-f", script]
        told = ["-l", f"--log-prefix={self.where}/{name}.load"]
        at = ["-h", "127.0.0.1", "-p", str(pooler.port), "-U", "app", name]
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [pgbench(server), *how_much, *what, *told, *at],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **_as_owner(),
        )

    @property
    def runs(self) -> bool:
        return all(p.poll() is None for p in self.processes)

    def end(self, server: Server) -> Seen:
        """Wait until the clients have ended, and compare what they were told with what `server` has."""
        seen = Seen()
        for process, name in zip(self.processes, self.size.names, strict=True):
            said = process.communicate(timeout=120)[0]
            if "number of failed transactions: " in said:
                seen.failed += int(said.split("number of failed transactions: ")[1].split()[0])
            seen.failed += said.count("aborted")
            acknowledged: Counter[int] = Counter()
            for file in self.where.glob(f"{name}.load.*"):
                for line in file.read_text().splitlines():
                    client, _, microseconds, *_ = line.split()
                    acknowledged[int(client)] += 1
                    seen.worst_latency_ms = max(seen.worst_latency_ms, int(microseconds) / 1000)
            rows = Counter(server.sql("SELECT client, n FROM pgbench_history", database=name))
            expected = {(client, n) for client, count in acknowledged.items() for n in range(1, count + 1)}
            seen.transactions += len(expected)
            seen.lost += len(expected - rows.keys())
            seen.repeated += sum(count - 1 for count in rows.values())
        return seen


@contextmanager
def measured_on(where: Path) -> Iterator[Path]:
    """A directory that the servers' owner may write, gone afterwards."""
    where.mkdir()
    shutil.chown(where, owner().pw_uid, owner().pw_gid)
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _as_owner() -> dict[str, object]:
    return {"user": owner().pw_uid, "group": owner().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
