"""A throwaway PostgreSQL server, as the demo's parts meet one before any migration."""

import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from demo.load import BILLING, ORDERS, Loaded, load
from demo.postgres import Login
from encryptdb.lab import binaries, processes


@dataclass(frozen=True)
class Server:
    """A running server with both of the demo's databases loaded. `master` is a superuser: no fence is tested here."""

    master: Login
    loaded: Loaded
    bin: Path


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    owner = processes.Owner.current()
    directory = Path(tempfile.mkdtemp(prefix="encryptdb-test-"))
    directory.chmod(0o755)
    data = directory / "data"
    data.mkdir(mode=0o700)
    owner.own(data)
    folder = binaries.usable(binaries.find(None), owner, directory)
    password = directory / "password"
    password.write_text("master\n")
    password.chmod(0o644)
    initdb = [folder / "initdb", "-D", data, "-A", "scram-sha-256", "-U", "master", f"--pwfile={password}"]
    processes.run([*initdb, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], "initdb", owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "track_commit_timestamp": "on",
        "fsync": "off",
        "max_connections": "60",
        "shared_buffers": "64MB",
    }
    options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    process = processes.spawn([folder / "postgres", "-D", data, *options], directory / "log", owner)
    try:
        master = Login("127.0.0.1", port, "master", "master")
        _wait_for(master, directory / "log")
        with master.connect("postgres") as connection:
            for name in (ORDERS, BILLING):
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        yield Server(master, load(master, clients=3), folder)
    finally:
        process.send_signal(signal.SIGINT)  # "fast": sessions do not hold the stop up
        try:
            process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
            shutil.rmtree(directory)


def _wait_for(login: Login, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            login.connect("postgres").close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL did not start within 30 s: {log.read_text()[-1000:]}") from error
            time.sleep(0.05)
