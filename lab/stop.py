"""`lab stop`: end every process, unmount every mount, remove every file; also after the server process died."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from encryptdb.lab import cluster, freeze, processes
from encryptdb.lab.errors import LabError
from encryptdb.lab.layout import Layout
from encryptdb.lab.volumes import release

END = [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)]


def stop(layout: Layout, tell: Callable[[str], None]) -> bool:
    """Stop the lab; False if there was none. Raises LabError when something stays, and then keeps the files."""
    if not layout.settings.exists() and not layout.server.parent.exists():
        return False
    # The server process first: it would start things again. Its threads' children next; then what they served.
    for process in list(_ours(layout, "lab")):
        tell(f"ending the server process {process.pid}")
        processes.end(process.pid, END, "the lab's server process")
    for process in list(_ours(layout, "initdb", "cp", "gocryptfs -init")):
        processes.end(process.pid, END, process.name())
    for data in _data_directories(layout):
        if (pid := cluster.running_postmaster(data)) is not None:
            tell(f"stopping PostgreSQL in {data}")
            freeze.thaw(pid)
            processes.end(pid, cluster.DISCARD, f"stopping the server in {data}")
        for pid in cluster.orphans(data):
            processes.end(pid, cluster.ORPHANS, f"ending what a dead postmaster left in {data}")
    for process in list(_ours(layout, "postgres")):
        processes.end(process.pid, cluster.ORPHANS, "a server process")
    for mount in _mounts(layout):
        tell(f"unmounting {mount}")
        release(mount)
    for process in list(_ours(layout, "gocryptfs")):
        processes.end(process.pid, END, "gocryptfs")
    left = [*_ours(layout, "lab", "postgres", "gocryptfs", "initdb"), *_mounts(layout)]
    if left:
        raise LabError(
            f"the lab in {layout.directory} is not gone: {left}", hint="end these by hand, then `lab stop` again"
        )
    layout.remove()
    return True


def server_pid(layout: Layout) -> int | None:
    """The server process, if it is running: a pid alone may have become another program's."""
    try:
        document = json.loads(layout.server.read_text())
        process = psutil.Process(document["pid"])
        same = abs(process.create_time() - document["created"]) < 1 and processes.alive(process.pid)
        return process.pid if same else None
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None


def _data_directories(layout: Layout) -> list[Path]:
    return [p / "volume" / "data" for p in layout.instances.glob("*")]


def _mounts(layout: Layout) -> list[Path]:
    return [p / "volume" for p in layout.instances.glob("*") if os.path.ismount(p / "volume")]


def _ours(layout: Layout, *programs: str) -> Iterator[psutil.Process]:
    """Processes of this lab: the program, with this lab's own directory among its arguments."""
    roots = {str(layout.directory), str(layout.volumes)}
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            name = Path(command[0]).name if command else ""
            dead = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if dead or process.pid == os.getpid() or not any(_under(a, roots) for a in command[1:]):
            continue
        serves = command[1:4] == ["-m", "encryptdb.lab", "serve"]
        if (
            (serves and "lab" in programs)
            or name in programs
            or (name == "gocryptfs" and "-init" in command and "gocryptfs -init" in programs)
        ):
            yield process


def _under(argument: str, roots: set[str]) -> bool:
    return any(argument == root or argument.startswith(root + "/") for root in roots)
