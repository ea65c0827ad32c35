"""A crash-consistent copy of a running server's data directory: what a volume snapshot holds.

The postmaster and all its children are stopped (SIGSTOP) for the copy. Everything that they wrote is then in the page
cache, in the order they wrote it, and no write is under way: a copy taken while none of them runs is a state that a
power cut could have left.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from encryptdb.lab import processes
from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import Owner

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


def copy(data: Path, to: Path, postmaster: int | None, two_passes: bool = True, owner: Owner | None = None) -> float:
    """Copy the directory; returns the seconds for which the server was held. `to` must not exist.

    `postmaster` None says that nothing runs there. The first pass copies while the server runs; the second, frozen,
    copies only what was modified since, so that the freeze does not grow with the database. `two_passes` False copies
    everything frozen: for filesystems whose times are not known to move with each write. `owner` copies, where it is
    not us: what root makes in an encrypted volume is root's underneath.
    """
    if postmaster is None or not two_passes:
        with frozen(postmaster) if postmaster is not None else nullcontext():
            began = time.monotonic()
            _copy_tree(data, to, owner)
            held = time.monotonic() - began
        (to / "postmaster.pid").unlink(missing_ok=True)
        return held if postmaster is not None else 0.0
    seen = _survey(data, time.time_ns() - RECENT_NS).files
    with suppress(LabError):  # files come and go under a running server, and cp says so; the second pass settles it
        _copy_tree(data, to, owner)
    copied = _survey(to).files.keys()
    with frozen(postmaster):
        began = time.monotonic()
        now = _survey(data)
        for folder in now.folders:
            if not (to / folder).is_dir():
                _make_like(data / folder, to / folder)
        for name, stamp in now.files.items():
            if name not in copied or seen.get(name) != stamp:
                _copy_file(data / name, to / name)
        held = time.monotonic() - began
    for name in copied - now.files.keys() | {"postmaster.pid"}:
        (to / name).unlink(missing_ok=True)
    for folder in sorted(set(_survey(to).folders) - set(now.folders), reverse=True):
        (to / folder).rmdir()
    return held


def size(tree: Path) -> int:
    """Bytes of all files below `tree`."""
    return sum(stamp[1] for stamp in _survey(tree).files.values())


def discard(tree: Path) -> None:
    """Remove a copy that is not needed any more."""
    shutil.rmtree(tree, ignore_errors=True)


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


@dataclass
class Survey:
    """What a directory holds, by path relative to it: each file's (inode, size, mtime in ns), and the directories."""

    files: dict[str, Stamp] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def _survey(top: Path, horizon: int | None = None) -> Survey:
    """Look at everything below `top`; leave out files modified after `horizon`, whose times prove nothing."""
    found, left = Survey(), [""]
    while left:
        folder = left.pop()
        try:
            entries = list(os.scandir(top / folder))
        except FileNotFoundError:  # a running server's files come and go
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                found.folders.append(name)
                left.append(name)
            elif not entry.is_symlink() and entry.is_file() and (horizon is None or stat.st_mtime_ns < horizon):
                found.files[name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def _copy_tree(data: Path, to: Path, owner: Owner | None = None) -> None:
    argv = ["cp", "-a", "--reflink=auto", str(data), str(to)]
    processes.run(argv, "copying the data directory", owner, timeout=3600)


def _make_like(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    shutil.copystat(source, target)
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)


def _copy_file(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copy2(source, target)
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)
