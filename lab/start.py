"""`lab start`: a server process, and an account with one unencrypted server in it, ready when this returns."""

import json
import os
import random
import shlex
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

import encryptdb
from encryptdb.lab import account, binaries, processes, stop
from encryptdb.lab.errors import REFUSED, USAGE, LabError
from encryptdb.lab.layout import Layout
from encryptdb.lab.processes import CLEAN, Owner

READY_SECONDS = 60.0
REGION = "eu-central-1"
ENGINES = {"rds": "the instance", "aurora": "the cluster"}
"""The engines there are, and what `start` makes of each."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What `lab start` was asked for. `delay` is the least duration in seconds of each state in between."""

    directory: Path
    databases: Sequence[str] = ("orders",)
    engine: str = "rds"
    pg_bin: Path | None = None
    delay: float = 0.3
    identifier: str = "orders-prod"


def start(wanted: Wanted, tell: Tell) -> dict[str, Any]:
    """Start a lab; returns its document. Raises LabError, and then nothing is left behind."""
    if wanted.engine not in ENGINES:
        raise LabError(
            f"the lab has no engine {wanted.engine}",
            "it runs RDS for PostgreSQL instances (rds) and Aurora PostgreSQL clusters (aurora)",
            f"--engine {' or '.join(ENGINES)}",
            USAGE,
        )
    layout = Layout.of(wanted.directory)
    _refuse_used(layout)
    owner = Owner.current()
    folder = binaries.find(wanted.pg_bin)
    existed = layout.directory.is_dir()
    try:
        layout.create(owner)
        tell(f"PostgreSQL from {folder}")
        folder = binaries.usable(folder, owner, layout.volumes)
        server = _serve(layout, folder, wanted, owner)
        environment = _environment(layout, server)
        layout.env.write_text("".join(f"export {k}={shlex.quote(v)}\n" for k, v in environment.items()))
        tell(f"AWS endpoint {server['endpoint_url']}; creating {ENGINES[wanted.engine]} {wanted.identifier}")
        session = boto3.session.Session("test", "test", region_name=REGION)
        source = account.furnish(
            session,
            server["endpoint_url"],
            wanted.engine,
            server["aurora_family" if wanted.engine == "aurora" else "family"],
            wanted.identifier,
            wanted.databases,
            layout,
        )
    except BaseException as error:
        told = _last_errors(layout)
        stop.stop(layout, lambda _: None)
        if existed:
            layout.directory.mkdir(exist_ok=True)
        if isinstance(error, LabError) and told:
            raise LabError(
                error.message, f"{error.meaning}; the lab's log says: {told}", error.hint, error.status
            ) from error
        raise
    return {
        "endpoint_url": server["endpoint_url"],
        "region": REGION,
        "directory": str(layout.directory),
        "postgres_version": server["version"],
        "tls": server["tls"],
        "encrypted_storage": server["encrypted_storage"],
        "engine": wanted.engine,
        "source": source,
    }


def _refuse_used(layout: Layout) -> None:
    if layout.settings.exists():
        raise LabError(
            f"{layout.directory} already holds a lab",
            "starting another one there would lose the first one's servers",
            f"python -m lab stop --dir {shlex.quote(str(layout.directory))}, or another --dir",
            REFUSED,
        )
    if layout.directory.exists() and (not layout.directory.is_dir() or any(layout.directory.iterdir())):
        raise LabError(
            f"{layout.directory} is not an empty directory",
            "`lab stop` removes the lab's directory, so nothing else may be in it",
            "give --dir a new or an empty directory",
            REFUSED,
        )


def _serve(layout: Layout, folder: Path, wanted: Wanted, owner: Owner) -> dict[str, Any]:
    """Start the server process and wait for it."""
    settings = {
        "pg_bin": str(folder),
        # A network of its own for each lab, and one port that is free everywhere: names and records can then point from
        # one instance to another, and labs side by side do not meet.
        "network": f"{random.randint(16, 250)}.{random.randint(0, 250)}",
        "port": _free_port(),
        "delay": wanted.delay,
        "identifier": wanted.identifier,
        "owner": owner.name,
    }
    layout.settings.write_text(json.dumps(settings, indent=1))
    root = Path(encryptdb.__file__).resolve().parent.parent
    # AWS variables of the caller could lead the server's own client to the real AWS.
    environment = dict(CLEAN) | {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", "HOME": "/nonexistent"}
    environment["PATH"] = os.environ.get("PATH", CLEAN["PATH"])
    argv: list[str | Path] = [sys.executable, "-m", "encryptdb.lab", "serve", "--dir", layout.directory]
    process = processes.spawn(argv, layout.log, env=environment)
    processes.wait_until(
        lambda: layout.server.exists() or process.poll() is not None, "the lab's server process", READY_SECONDS
    )
    if process.poll() is not None:
        words = layout.log.read_text(errors="replace").strip().splitlines()[-5:]
        raise LabError("the lab's server process ended at once", " / ".join(words))
    document: dict[str, Any] = json.loads(layout.server.read_text())
    return document


def _last_errors(layout: Layout) -> str:
    """The log goes with the lab, so its errors are told now."""
    if not layout.log.exists():
        return ""
    return " / ".join(line for line in layout.log.read_text(errors="replace").splitlines() if " ERROR " in line)[-1000:]


def _free_port() -> int:
    # The wildcard address can be bound only to a port that no address uses. Nothing listens on it: it is closed again.
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(layout: Layout, server: Mapping[str, Any]) -> dict[str, str]:
    """What DIR/env sets. Where the PostgreSQL at hand was built without TLS, clients must not ask for it."""
    tls = {"PGSSLROOTCERT": str(layout.ca)} if server["tls"] else {"PGSSLMODE": "disable"}
    return {
        "AWS_ENDPOINT_URL": server["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LAB_DIR": str(layout.directory),
        **tls,
    }
