"""A crash-consistent copy of a running server's data directory: what a volume snapshot holds.

The postmaster and all its children are stopped (SIGSTOP) for the copy. Everything that they wrote is then in the page
cache, in the order they wrote it, and no write is under way: a copy taken while none of them runs is a state that a
power cut could have left.
"""

import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lab import processes
from lab.errors import LabError

# File times come from the kernel's tick (4 ms at 250 Hz): a file written twice within one tick looks untouched the
# second time. What was modified this recently before the first pass is copied again.
RECENT_NS = 100_000_000
DEADLINE = 30.0


@contextmanager
def frozen(postmaster: int) -> Iterator[None]:
    """Hold the server still. Raises LabError when a process does not stop within 30 s; thaws in every case."""
    parent = psutil.Process(postmaster)
    try:
        deadline = time.monotonic() + DEADLINE
        while running := _running(parent):
            for process in running:
                _signal(process, signal.SIGSTOP)
            # A signal is taken on the way out of a system call: until then that process may still write.
            if time.monotonic() > deadline:
                raise LabError(f"waited {DEADLINE:g} s for the server's processes to stop")
            time.sleep(0.001)
        yield
    finally:
        thaw(postmaster)


def thaw(postmaster: int) -> None:
    """Let a server go on; harmless where it was not held. The postmaster last, so that it sees no half-thawed child."""
    try:
        parent = psutil.Process(postmaster)
        for process in [*parent.children(recursive=True), parent]:
            _signal(process, signal.SIGCONT)
    except psutil.NoSuchProcess:
        return


def copy(data: Path, to: Path, postmaster: int | None, two_passes: bool = True) -> float:
    """Copy the directory; returns the seconds for which the server was held. `to` must not exist.

    `postmaster` None says that nothing runs there. The first pass copies while the server runs; the second, frozen,
    copies only what was modified since, so that the freeze does not grow with the database. `two_passes` False copies
    everything frozen: for filesystems whose times are not known to move with each write.
    """
    seen = {}
    if two_passes and postmaster is not None:
        seen = _survey(data)
        _copy_tree(data, to)
    if postmaster is None:
        _settle(data, to, seen)
        return 0.0
    with frozen(postmaster):
        began = time.monotonic()
        _settle(data, to, seen)
        held = time.monotonic() - began
    (to / "postmaster.pid").unlink(missing_ok=True)
    return held


def _running(parent: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in [parent, *parent.children(recursive=True)]:
        try:
            if process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


Stamp = tuple[int, int, int]


def _survey(data: Path) -> dict[str, Stamp]:
    """(inode, size, mtime) of each file, without those written so recently that their time proves nothing."""
    horizon = time.time_ns() - RECENT_NS
    return {name: stamp for name, stamp in _files(data) if stamp[2] < horizon}


def _files(data: Path) -> Iterator[tuple[str, Stamp]]:
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder) / name
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if not stat.S_ISSOCK(found.st_mode):
                yield str(path.relative_to(data)), (found.st_ino, found.st_size, found.st_mtime_ns)


def _copy_tree(data: Path, to: Path) -> None:
    # Files come and go under a running server, and cp says so with status 1: the second pass puts all of it right.
    argv = ["cp", "-a", "--reflink=auto", str(data), str(to)]
    try:
        processes.run(argv, "copying the data directory", timeout=3600)
    except LabError:
        if not to.is_dir():
            raise


def _settle(data: Path, to: Path, seen: dict[str, Stamp]) -> None:
    """Bring `to` to the state of `data`, which does not change now, given what `to` was copied from."""
    if not to.exists():
        processes.run(["cp", "-a", "--reflink=auto", str(data), str(to)], "copying the data directory", timeout=3600)
        return
    now = dict(_files(data))
    for name, _ in list(_files(to)):
        if name not in now:
            (to / name).unlink()
    for folder, folders, _ in os.walk(data):
        here = to / Path(folder).relative_to(data)
        for name in folders:
            if not (here / name).is_dir():
                shutil.copytree(Path(folder) / name, here / name, ignore=lambda _, names: names)
                shutil.copystat(Path(folder) / name, here / name)
                found = (Path(folder) / name).stat()
                os.chown(here / name, found.st_uid, found.st_gid)
    for name, stamp in now.items():
        target = to / name
        if seen.get(name) != stamp or not target.exists():
            target.unlink(missing_ok=True)
            _copy_file(data / name, target)
    for folder, folders, _ in os.walk(to):
        for name in folders:
            there = Path(folder) / name
            if not (data / there.relative_to(to)).exists():
                shutil.rmtree(there)


def _copy_file(source: Path, target: Path) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    found = source.lstat()
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)


def discard(tree: Path) -> None:
    """Remove a copy that is not needed any more."""
    shutil.rmtree(tree, ignore_errors=True)
