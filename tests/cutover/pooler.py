"""A real PgBouncer in front of a server, with a configuration file that is not tidy."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from encryptdb.controller.switches.console import Console, ConsoleError
from tests.kit.servers import free_port, owner

INI = """\
;; PgBouncer for the tests: comments, odd spacing and quoting have to survive.
[databases]
# app = host=10.0.0.1 port=1 (an old one)
app   =   host={host} port={port}   dbname=app user=app
second = dbname='Second "DB"' port='{port}' host='{host}' user=app
elsewhere = host=192.0.2.1 port=5432 dbname=app

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = trust
auth_file = {users}
pool_mode = {mode}
admin_users = admin
stats_users = watcher
unix_socket_dir =
logfile = {log}
pidfile =
server_login_retry = 0.2
default_pool_size = 20
"""


class Pooler:
    """One PgBouncer process, started and stopped by its pid."""

    def __init__(self, where: Path, host: str, port: int, mode: str = "transaction") -> None:
        where.mkdir()
        self.port = free_port()
        self.ini = where / "pgbouncer.ini"
        users = where / "users.txt"
        users.write_text('"app" ""\n"admin" ""\n"watcher" ""\n')
        self.ini.write_text(
            INI.format(host=host, port=port, listen=self.port, users=users, log=where / "pgbouncer.log", mode=mode)
        )
        self.ini.chmod(0o640)
        for path in (where, self.ini, users):
            shutil.chown(path, owner().pw_uid, owner().pw_gid)
        binary = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
        assert binary is not None, "apt install pgbouncer"
        me = {"user": owner().pw_uid, "group": owner().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen([binary, "-q", str(self.ini)], **me)  # type: ignore[call-overload]
        deadline = time.monotonic() + 10
        while True:
            try:
                self.databases()
                break
            except ConsoleError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError("pgbouncer did not start within 10 s") from None
                time.sleep(0.05)

    def switch(self, **more: Any) -> dict[str, Any]:
        """Its document in a stack's config."""
        admin = f"postgresql://admin@127.0.0.1:{self.port}/pgbouncer"
        return {"kind": "pgbouncer", "admin": admin, "configFile": str(self.ini)} | more

    def databases(self, user: str = "admin") -> dict[str, dict[str, Any]]:
        """SHOW DATABASES by name."""
        with Console(f"postgresql://{user}@127.0.0.1:{self.port}/pgbouncer", None) as console:
            return {row["name"]: row for row in console.query("SHOW DATABASES")}

    def do(self, command: str) -> None:
        with Console(f"postgresql://admin@127.0.0.1:{self.port}/pgbouncer", None) as console:
            console.query(command)

    def connect(self, database: str = "app") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="app", dbname=database, autocommit=True, prepare_threshold=None
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
