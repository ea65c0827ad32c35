"""Snapshots at rest. A plain one is a directory; an encrypted one is a sealed archive beside its wrapped data key.

A sealed archive is the tar of the directory, cut into chunks, each sealed with AES-256-GCM under the data key. The
nonce is a random prefix, the chunk's number and whether it is the last one (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, 2015), so chunks cannot be cut off, swapped or repeated unnoticed. The plaintext data
key is nowhere on disk: only the blob that KMS gave, which KMS opens again.

`tar` and `cp` move the files: a data directory has thousands of small ones, and each costs several calls.
"""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from encryptdb.lab import processes
from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import CLEAN, Owner

CHUNK = 1 << 20
"""Bytes of plaintext in a chunk."""
TAG = 16
PREFIX = 7


class Keys(Protocol):
    """The two KMS calls that envelope encryption needs."""

    def generate(self, key_arn: str) -> tuple[bytes, bytes]:
        """A new 256-bit data key: (plaintext, wrapped under the KMS key)."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """The plaintext of a wrapped data key."""


@dataclass(frozen=True)
class Stored:
    """One snapshot's place. Its directory holds `data/` (plain), or `data.sealed` and `data.key`."""

    directory: Path

    @property
    def plain(self) -> Path:
        return self.directory / "data"

    @property
    def sealed(self) -> Path:
        return self.directory / "data.sealed"

    @property
    def key(self) -> Path:
        return self.directory / "data.key"

    def seal(self, source: Path, keys: Keys, key_arn: str) -> None:
        """Seal the directory `source` into this place under a new data key of the KMS key. Raises LabError."""
        with self._sealing(keys, key_arn) as out:
            argv = ["tar", "--create", "--file=-", "--directory", str(source), "."]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, env=dict(CLEAN)) as tar:
                assert tar.stdout is not None
                shutil.copyfileobj(tar.stdout, out, CHUNK)
            if tar.returncode:
                raise LabError(f"sealing a snapshot: tar ended with status {tar.returncode}")

    def unpack(self, to: Path, keys: Keys, owner: Owner) -> None:
        """Put the content into the existing directory `to`, as `owner`'s. Raises LabError if it was tampered with."""
        if self.plain.is_dir():
            # As the servers' user, as tar below: what root makes in an encrypted volume is root's underneath.
            _duplicate(self.plain, to, owner)
            return
        argv = ["tar", "--extract", "--file=-", "--directory", str(to), "--touch", "--no-same-owner"]
        with (
            self._opened(keys) as source,
            subprocess.Popen(argv, stdin=subprocess.PIPE, env=dict(CLEAN), umask=0o077, **owner.credentials()) as tar,
        ):
            assert tar.stdin is not None
            with suppress(BrokenPipeError):  # tar ended early; its status says so below
                shutil.copyfileobj(source, tar.stdin, CHUNK)
                tar.stdin.close()
        if tar.returncode:
            raise LabError(f"unpacking a snapshot: tar ended with status {tar.returncode}")

    def copy_to(self, other: "Stored", keys: Keys, key_arn: str | None) -> None:
        """Copy the snapshot; encrypted under `key_arn`, whatever it was before. None copies a plain one as it is."""
        if key_arn is None:
            other.plain.mkdir()
            _duplicate(self.plain, other.plain)
        elif self.plain.is_dir():
            other.seal(self.plain, keys, key_arn)
        else:
            with self._opened(keys) as source, other._sealing(keys, key_arn) as out:
                shutil.copyfileobj(source, out, CHUNK)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def _sealing(self, keys: Keys, key_arn: str) -> Iterator[IO[bytes]]:
        secret, wrapped = keys.generate(key_arn)
        self.key.write_bytes(wrapped)
        with self.sealed.open("xb") as file:
            sealer = _Sealer(file, AESGCM(secret))
            yield cast(IO[bytes], sealer)
            sealer.finish()

    @contextmanager
    def _opened(self, keys: Keys) -> Iterator[IO[bytes]]:
        secret = keys.unwrap(self.key.read_bytes())
        with self.sealed.open("rb") as file:
            yield io.BufferedReader(_Opener(file, AESGCM(secret)), CHUNK)


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


class _Sealer:
    """A writable file whose bytes arrive sealed in `file`. Held back: one chunk, because the last one is marked."""

    def __init__(self, file: IO[bytes], cipher: AESGCM) -> None:
        self._file, self._cipher, self._held, self._number = file, cipher, bytearray(), 0
        self._prefix = os.urandom(PREFIX)
        file.write(self._prefix)

    def write(self, data: bytes) -> int:
        self._held += data
        while len(self._held) > CHUNK:
            self._emit(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(data)

    def finish(self) -> None:
        self._emit(bytes(self._held), last=True)

    def _emit(self, chunk: bytes, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._prefix, self._number, last), chunk, None))
        self._number += 1


class _Opener(io.RawIOBase):
    """A readable file over a sealed one. Raises LabError at the first byte that is not what was sealed."""

    def __init__(self, file: IO[bytes], cipher: AESGCM) -> None:
        self._file, self._cipher, self._number, self._left = file, cipher, 0, b""
        self._prefix = file.read(PREFIX)
        self._next = file.read(CHUNK + TAG)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._left:
            if not self._next:
                return 0
            sealed, self._next = self._next, self._file.read(CHUNK + TAG)
            try:
                self._left = self._cipher.decrypt(_nonce(self._prefix, self._number, not self._next), sealed, None)
            except InvalidTag as error:
                meaning = "a chunk is not what was written, or not in its place"
                raise LabError("a sealed snapshot is damaged", meaning) from error
            self._number += 1
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def _duplicate(source: Path, to: Path, owner: Owner | None = None) -> None:
    argv = ["cp", "-a", "--reflink=auto", f"{source}/.", str(to)]
    processes.run(argv, "copying a snapshot", owner, timeout=3600)
