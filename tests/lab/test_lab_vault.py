"""Encrypted snapshots: nothing readable on disk, and nothing changed unnoticed."""

import os
from pathlib import Path

import pytest

from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import Owner
from encryptdb.lab.vault import CHUNK, PREFIX, TAG, Keys, Stored

MARKER = b"marker that must not be readable"


class FixedKeys(Keys):
    """Keys by number, so that a wrapped one is only a name."""

    def generate(self, key_arn: str) -> tuple[bytes, bytes]:
        return key_arn.encode().ljust(32, b"."), key_arn.encode()

    def unwrap(self, wrapped: bytes) -> bytes:
        return wrapped.ljust(32, b".")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "base" / "empty").mkdir(parents=True)
    (folder / "base" / "1").write_bytes(MARKER * 100_000)  # some three chunks
    (folder / "PG_VERSION").write_text("15\n")
    return folder


def stored(tmp_path: Path, name: str) -> Stored:
    (tmp_path / name).mkdir()
    return Stored(tmp_path / name)


def unpacked(snapshot: Stored, tmp_path: Path) -> dict[str, bytes]:
    to = tmp_path / "unpacked"
    to.mkdir()
    to.chmod(0o700)
    snapshot.unpack(to, FixedKeys(), Owner("me", os.getuid(), os.getgid()))
    return {str(p.relative_to(to)): p.read_bytes() for p in to.rglob("*") if p.is_file()}


def test_a_sealed_snapshot_gives_back_what_went_in(source: Path, tmp_path: Path) -> None:
    snapshot = stored(tmp_path, "a")
    snapshot.seal(source, FixedKeys(), "key-1")
    assert unpacked(snapshot, tmp_path) == {"base/1": MARKER * 100_000, "PG_VERSION": b"15\n"}


def test_nothing_of_it_is_readable_on_disk(source: Path, tmp_path: Path) -> None:
    snapshot = stored(tmp_path, "a")
    snapshot.seal(source, FixedKeys(), "key-1")
    assert MARKER in (source / "base" / "1").read_bytes()
    assert all(MARKER not in p.read_bytes() for p in snapshot.directory.iterdir())


def test_rekeying_seals_the_same_content_under_the_other_key(source: Path, tmp_path: Path) -> None:
    first, second = stored(tmp_path, "a"), stored(tmp_path, "b")
    first.seal(source, FixedKeys(), "key-1")
    first.copy_to(second, FixedKeys(), "key-2")
    assert second.key.read_bytes() == b"key-2"
    assert unpacked(second, tmp_path)["base/1"] == MARKER * 100_000


@pytest.mark.parametrize("damage", ["a flipped bit", "a chunk cut off", "two chunks swapped", "another key"])
def test_damage_is_noticed(source: Path, tmp_path: Path, damage: str) -> None:
    snapshot = stored(tmp_path, "a")
    snapshot.seal(source, FixedKeys(), "key-1")
    sealed = bytearray(snapshot.sealed.read_bytes())
    step = CHUNK + TAG
    if damage == "a flipped bit":
        sealed[-1] ^= 1
    elif damage == "a chunk cut off":
        del sealed[PREFIX + 2 * step :]
    elif damage == "two chunks swapped":
        first, second = sealed[PREFIX : PREFIX + step], sealed[PREFIX + step : PREFIX + 2 * step]
        sealed[PREFIX : PREFIX + 2 * step] = second + first
    else:
        snapshot.key.write_bytes(b"key-2")
    snapshot.sealed.write_bytes(sealed)
    with pytest.raises(LabError, match="damaged"):
        unpacked(snapshot, tmp_path)
