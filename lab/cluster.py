"""One PostgreSQL server: initdb, start, reload, stop. It listens on one loopback address and on nothing else."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import TupleRow

from encryptdb.lab import freeze, parameters, processes
from encryptdb.lab.binaries import Binaries
from encryptdb.lab.certificates import Authority
from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import Owner

ADMIN = "rdsadmin"
"""The lab's own superuser and its own database, named as RDS names them."""

START_SECONDS = 300.0
STOP = [(signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]
"""Fast shutdown, immediate shutdown, and the end; with the seconds to wait for each."""
DISCARD = STOP[1:]
"""For a server whose data is thrown away: it need not write it all out first."""
ORPHANS = [(signal.SIGCONT, 1.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
"""Backends end by themselves when their postmaster is gone, unless they were stopped."""


@dataclass(frozen=True)
class Login:
    """How the lab itself logs in. The password is never shown."""

    host: str
    port: int
    ca: Path
    tls: bool
    password: str = field(repr=False)

    def connect(self, database: str, timeout: int = 10) -> psycopg.Connection[TupleRow]:
        """An autocommit session of rdsadmin. psycopg.OperationalError when the server does not answer."""
        tls: dict[str, Any] = (
            {"sslmode": "verify-full", "sslrootcert": str(self.ca)} if self.tls else {"sslmode": "disable"}
        )
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=ADMIN,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=timeout,
            application_name="rdsadmin",
            **tls,
        )


@dataclass
class Cluster:
    """The server in `data`; `keep` is a directory outside its volume for its key and its first words.

    `own` are settings of the lab's that no parameter group touches. A server that is `followed` lets rdsadmin stream
    its WAL.
    """

    data: Path
    keep: Path
    login: Login
    binaries: Binaries
    owner: Owner
    process: subprocess.Popen[bytes] | None = None
    own: dict[str, str] = field(default_factory=dict)
    followed: bool = False

    @property
    def follows(self) -> bool:
        """Whether it is a replica of another server."""
        return (self.data / "standby.signal").exists()

    @property
    def logs(self) -> Path:
        return self.data / "log" / "error"

    @property
    def startup_log(self) -> Path:
        return self.keep / "startup.log"

    def initdb(self) -> None:
        """Make the data directory; its superuser is rdsadmin. Raises LabError."""
        secret = self.keep / "initdb.password"
        secret.touch(mode=0o600)
        try:
            secret.write_text(self.login.password + "\n")
            self.owner.own(secret)
            argv: list[str | Path] = [
                self.binaries.folder / "initdb",
                "-D",
                self.data,
                "-U",
                ADMIN,
                "--pwfile",
                secret,
                "--no-sync",
            ]
            argv += ["-A", "scram-sha-256", "-E", "UTF8", "--locale", "C.UTF-8"]
            processes.run(argv, "making the database cluster", self.owner)
        finally:
            secret.unlink()

    def certify(self, authority: Authority, known_as: Sequence[str] = ()) -> None:
        if self.binaries.tls:
            authority.issue(self.login.host, self.keep, self.owner, known_as)

    def start(self, values: Mapping[str, str]) -> None:
        """Start with these parameters and wait until connections are accepted.

        Raises LabError with the server's own last words when it ends instead, or after 300 s.
        """
        self.configure(values)
        (self.data / "pg_hba.conf").write_text(self._hba())
        if not self.logs.is_dir():
            argv = ["install", "-d", "-m", "700", str(self.logs.parent), str(self.logs)]
            processes.run(argv, "making the log's directory", self.owner)
        before = self._log_sizes()
        self.process = processes.spawn(
            [self.binaries.folder / "postgres", "-D", self.data], self.startup_log, self.owner
        )
        process = self.process
        try:
            processes.wait_until(
                lambda: self._ready(process.pid) or process.poll() is not None,
                "the server to accept connections",
                START_SECONDS,
            )
        except LabError:
            self.stop()
            raise
        if process.poll() is not None:
            self.process = None
            raise LabError(f"the server does not start: {self._last_words(before)}")

    def configure(self, values: Mapping[str, str]) -> None:
        """Write postgresql.conf. `values` are the parameter group's; the lab adds where to listen and the keys."""
        own = {"listen_addresses": self.login.host, "port": str(self.login.port), "ssl": "off"}
        if self.binaries.tls:
            own |= {
                "ssl": "on",
                "ssl_cert_file": str(self.keep / "server.crt"),
                "ssl_key_file": str(self.keep / "server.key"),
            }
        known = {name: value for name, value in values.items() if self._understands(name)}
        (self.data / "postgresql.conf").write_text(parameters.render(known | own | self.own))

    def reload(self, values: Mapping[str, str]) -> None:
        self.configure(values)
        if (pid := self.postmaster()) is not None:
            processes.run(["kill", "-HUP", str(pid)], "reloading the server")

    def stop(self, how: Sequence[tuple[signal.Signals, float]] = STOP) -> None:
        """Stop the server: fast, then harder. Raises LabError if a process stays."""
        if (pid := self.postmaster()) is not None:
            freeze.thaw(pid)
            processes.end(pid, how, f"stopping the server in {self.data}")
        for pid in orphans(self.data):
            processes.end(pid, ORPHANS, f"ending what a dead postmaster left in {self.data}")
        if self.process is not None:
            self.process.wait(10)
            self.process = None

    def postmaster(self) -> int | None:
        """The pid of the running postmaster."""
        return running_postmaster(self.data)

    def log_files(self) -> list[Path]:
        return sorted(self.logs.glob("postgresql.log.*")) if self.logs.is_dir() else []

    def _ready(self, pid: int) -> bool:
        # Line 8 of postmaster.pid is the state; pg_ctl -w waits for the same words. A killed one leaves its file.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in ("ready", "standby")

    def _hba(self) -> str:
        kind = "hostssl" if self.binaries.tls else "host"
        lines = [
            f"{ADMIN} {ADMIN} 127.0.0.0/8 scram-sha-256",
            f"{ADMIN} all all reject",
            "all all 127.0.0.0/8 scram-sha-256",
        ]
        if self.followed:
            lines.append(f"replication {ADMIN} 127.0.0.0/8 scram-sha-256")
        return "".join(f"{kind} {line}\n" for line in lines)

    def _understands(self, name: str) -> bool:
        # PostgreSQL ends at the start over a parameter it does not know; a dotted one is always allowed.
        return "." in name or name in self.binaries.known

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self.log_files()}

    def _last_words(self, before: Mapping[Path, int]) -> str:
        time.sleep(0.2)  # the logging collector writes what it was handed and ends after the postmaster
        words = self.startup_log.read_text(errors="replace").splitlines()
        for path in self.log_files():
            with path.open(errors="replace") as file:
                file.seek(before.get(path, 0))
                words += file.read().splitlines()
        told = [line for line in words if "FATAL:" in line or "PANIC:" in line or "HINT:" in line]
        return " / ".join(told[-3:]) or " / ".join(words[-3:]) or "it said nothing"


def running_postmaster(data: Path) -> int | None:
    """The pid in postmaster.pid, if that process is a postgres of this data directory."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    return pid if str(data).encode() in command and processes.alive(pid) else None


def orphans(data: Path) -> list[int]:
    """Processes of a server whose postmaster is gone: they still hold its shared memory. All work in `data`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(data) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
