"""`lab start` and `lab stop`: nothing stays behind, whatever happened in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from encryptdb.lab import freeze
from encryptdb.lab.cluster import running_postmaster
from tests.kit.lab import ROOT, environment


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "lab"
    lab("stop", tmp_path / "lab")


def lab(command: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", command, "--dir", str(directory), *arguments]
    return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, timeout=200)


def started(directory: Path) -> dict[str, Any]:
    done = lab("start", directory, "--delay", "0", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def leftovers(directory: Path, volumes: Path) -> list[str]:
    """Processes that name the lab's directories, mounts in them, and what is left of the directories."""
    found = [str(p) for p in (directory, volumes) if p.exists()]
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            zombie = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if not zombie and process.pid != os.getpid() and any(str(p) in command for p in (directory, volumes)):
            found.append(command)
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(volumes) in line]
    return found


def test_a_lab_is_ready_when_start_returns_and_gone_when_stop_does(directory: Path) -> None:
    document = started(directory)
    volumes = (directory / "volumes").resolve()
    env = environment(directory)
    assert env["AWS_ENDPOINT_URL"] == document["endpoint_url"]
    assert env["LAB_DIR"] == str(directory)
    assert document["source"]["databases"] == ["orders"]
    status = json.loads(lab("status", directory, "--json").stdout)
    assert [(i["identifier"], i["status"]) for i in status["instances"]] == [("orders-prod", "available")]
    assert document["source"]["password"] not in json.dumps(status)
    assert_nowhere(document["source"]["password"], directory, volumes)

    again = lab("start", directory)
    assert again.returncode == 4
    assert "already holds a lab" in again.stderr

    assert lab("stop", directory).returncode == 0
    assert leftovers(directory, volumes) == []
    assert lab("stop", directory).returncode == 0
    assert lab("status", directory).returncode == 3


def test_a_lab_with_a_cluster_is_ready_with_its_reader_and_gone_when_stop_returns(directory: Path) -> None:
    done = lab("start", directory, "--engine", "aurora", "--delay", "0", "--json")
    assert done.returncode == 0, done.stderr
    source = json.loads(done.stdout)["source"]
    volumes = (directory / "volumes").resolve()
    assert (source["identifier"], source["members"]) == ("orders-prod", ["orders-prod-1", "orders-prod-2"])
    status = json.loads(lab("status", directory, "--json").stdout)
    assert [(i["identifier"], i["status"]) for i in status["instances"]] == [
        (m, "available") for m in source["members"]
    ]
    (cluster,) = status["clusters"]
    assert (cluster["host"], cluster["reader_host"]) == (source["host"], source["reader_host"])
    assert [(m["identifier"], m["writer"]) for m in cluster["members"]] == [
        ("orders-prod-1", True),
        ("orders-prod-2", False),
    ]
    assert_nowhere(source["password"], directory, volumes)

    assert lab("stop", directory).returncode == 0
    assert leftovers(directory, volumes) == []


def test_stop_finds_everything_after_the_server_process_was_killed_in_the_midst_of_a_snapshot(directory: Path) -> None:
    document = started(directory)
    volumes = (directory / "volumes").resolve()
    server = json.loads((directory / "run" / "server.json").read_text())["pid"]
    data = volumes / "instances" / document["source"]["resource_id"] / "volume" / "data"
    postmaster = running_postmaster(data)
    assert postmaster is not None
    held = freeze.frozen(postmaster)
    held.__enter__()  # as a snapshot holds it; nobody will let it go
    os.kill(server, signal.SIGKILL)

    told = lab("status", directory)
    assert told.returncode == 1
    assert "is gone" in told.stderr
    assert lab("stop", directory).returncode == 0
    assert leftovers(directory, volumes) == []


def test_a_start_that_fails_leaves_nothing(directory: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    broken.chmod(0o755)
    for name in ("postgres", "initdb"):
        source = Path(shutil.which("false") or "/bin/false")
        shutil.copy(source, broken / name)
    done = lab("start", directory, "--pg-bin", str(broken))
    assert done.returncode != 0
    assert "lab:" in done.stderr
    assert leftovers(directory, directory / "volumes") == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--engine", "mysql"], 2, "no engine mysql"),
        (["--pg-bin", "/nonexistent"], 2, "holds no PostgreSQL server"),
    ],
)
def test_wrong_usage_is_told_and_leaves_nothing(directory: Path, arguments: list[str], status: int, says: str) -> None:
    done = lab("start", directory, *arguments)
    assert (done.returncode, says in done.stderr) == (status, True), done.stderr
    assert "hint:" in done.stderr
    assert not directory.exists()


def test_a_directory_with_something_else_in_it_is_not_touched(directory: Path) -> None:
    directory.mkdir()
    (directory / "precious").write_text("mine")
    assert lab("start", directory).returncode == 4
    assert lab("stop", directory).returncode == 0
    assert (directory / "precious").read_text() == "mine"


def assert_nowhere(password: str, directory: Path, volumes: Path) -> None:
    """In no process listing (arguments and environments), not in the lab's log, not in a server's."""
    listing = subprocess.run(["ps", "axeww", "-o", "args"], text=True, capture_output=True, check=True).stdout
    assert password not in listing
    assert password not in (directory / "lab.log").read_text()
    logs = [p for p in volumes.rglob("*.log*") if p.is_file()]
    assert len(logs) >= 2
    assert not [p for p in logs if password in p.read_text()]
