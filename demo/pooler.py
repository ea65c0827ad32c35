"""PgBouncer between writers and server: transaction pooling, SCRAM from the clients, verified TLS to the server."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from demo.postgres import Connection, Login, scram_verifier

ADMIN = "pooler_admin"
READY = 10.0
"""Seconds within which PgBouncer has to answer."""


def find_pgbouncer() -> Path | None:
    """The program, if it is installed: Debian puts it where not every PATH looks."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def quote(value: str) -> str:
    """A value of a connection string in pgbouncer.ini."""
    return "'" + value.replace("'", "''") + "'"


def configuration(databases: Mapping[str, str], server: Login, port: int, directory: Path) -> str:
    """The pgbouncer.ini that sends each pooled database (name in the pooler → name on the server) to `server`."""
    lines = [
        "[databases]",
        *(f"{name} = host={server.host} port={server.port} dbname={quote(real)}" for name, real in databases.items()),
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = scram-sha-256",
        f"auth_file = {directory}/userlist.txt",
        f"admin_users = {ADMIN}",
        "pool_mode = transaction",
        "default_pool_size = 12",
        *(["server_tls_sslmode = verify-full", f"server_tls_ca_file = {server.ca}"] if server.ca else []),
        # While a server restarts, ask it again each second, not every fifteen.
        "server_login_retry = 1",
        f"logfile = {directory}/pgbouncer.log",
        f"pidfile = {directory}/pgbouncer.pid",
    ]
    return "\n".join(lines) + "\n"


PASSWORD_VARIABLE = "ENCRYPTDB_PGBOUNCER_PASSWORD"


class Pooler:
    """A PgBouncer of the demo's own, in `directory`, which it makes."""

    holds_back = True

    def __init__(
        self, program: Path, directory: Path, server: Login, databases: Mapping[str, str], app: Login, app_verifier: str
    ) -> None:
        self.directory = directory
        self._databases = databases
        self._process: subprocess.Popen[bytes] | None = None
        # PgBouncer refuses to run as root, as PostgreSQL does.
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        password = secrets.token_urlsafe(16)
        with server.connect("postgres") as connection:
            admin_verifier = scram_verifier(connection, ADMIN, password)
        directory.mkdir(mode=0o755)
        # The verifier that the server has, too: PgBouncer can log in with it once a client has, and no password is
        # kept here.
        userlist = directory / "userlist.txt"
        userlist.touch(mode=0o600)
        userlist.write_text(f'"{app.user}" "{app_verifier}"\n"{ADMIN}" "{admin_verifier}"\n')
        self._server = server
        if server.ca is not None:
            # A copy, because the original may lie where the pooler's user cannot go.
            self._server = replace(server, ca=str(directory / "ca.pem"))
            shutil.copy(server.ca, directory / "ca.pem")
            self._own(directory / "ca.pem")
        self.config_file = directory / "pgbouncer.ini"
        self._own(directory, userlist)
        port = self._start(program)
        self.login = Login("127.0.0.1", port, app.user, app.password)
        self.admin = Login("127.0.0.1", port, ADMIN, password)
        self.environment = {PASSWORD_VARIABLE: password}
        self._wait_until_ready()

    def switch(self) -> dict[str, Any]:
        """It as the stack's config describes it, in the list `switches`."""
        return {
            "kind": "pgbouncer",
            "admin": f"postgresql://{self.admin.user}@{self.admin.host}:{self.admin.port}/pgbouncer",
            "passwordEnv": PASSWORD_VARIABLE,
            "databases": dict(self._databases),
            "configFile": str(self.config_file),
        }

    def connector(self, database: str) -> Callable[[], Connection]:
        """What an application calls to get a connection to `database` (its name on the server)."""
        pooled = next(name for name, real in self._databases.items() if real == database)
        return lambda: self.login.connect(pooled)

    def stop(self) -> None:
        """End it, by its pid; again is no error."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _own(self, *paths: Path) -> None:
        if self._user is not None:
            for path in paths:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _start(self, program: Path) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        self.config_file.write_text(configuration(self._databases, self._server, port, self.directory))
        self._own(self.config_file)
        self._process = subprocess.Popen(
            [program, "-q", self.config_file],
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return port

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                connection = self.admin.connect("pgbouncer")
                connection.close()
                return
            except psycopg.OperationalError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self.directory / "pgbouncer.log"
                    said = log.read_text(encoding="utf-8", errors="replace")[-1500:] if log.exists() else "nothing"
                    self.stop()
                    raise TimeoutError(f"PgBouncer: no answer within {READY:.0f} s; its log says: {said}") from error
                time.sleep(0.05)
