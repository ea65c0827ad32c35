"""Where everything of one lab lies.

DIR/lab.json    settings of this lab; its presence means "a lab is here"
DIR/env         sourceable: how to reach the lab
DIR/ca.pem      the lab's certificate authority
DIR/lab.log     what the server process has to say
DIR/run/        the server process's pid
DIR/volumes/    instances' storage and snapshots; a link to elsewhere where DIR is closed to the servers' user
"""

import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from encryptdb.lab.processes import Owner


@dataclass(frozen=True)
class Layout:
    """The paths of one lab. `directory` is absolute."""

    directory: Path

    @classmethod
    def of(cls, directory: Path) -> "Layout":
        return cls(directory.absolute())

    @property
    def settings(self) -> Path:
        return self.directory / "lab.json"

    @property
    def env(self) -> Path:
        return self.directory / "env"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def log(self) -> Path:
        return self.directory / "lab.log"

    @property
    def server(self) -> Path:
        return self.directory / "run" / "server.json"

    @property
    def link(self) -> Path:
        return self.directory / "volumes"

    @property
    def volumes(self) -> Path:
        """Where the data really lies: the servers' user cannot follow the link where DIR is closed to it."""
        return Path(os.path.realpath(self.link))

    @property
    def instances(self) -> Path:
        return self.volumes / "instances"

    @property
    def snapshots(self) -> Path:
        return self.volumes / "snapshots"

    def create(self, owner: Owner) -> None:
        """Make the directories. Data goes elsewhere (linked) where `owner` could not walk down to it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.server.parent.mkdir(exist_ok=True)
        if walkable(self.directory, owner):
            self.link.mkdir()
        else:
            elsewhere = Path(tempfile.gettempdir()) / f"encryptdb-lab-{secrets.token_hex(6)}"
            elsewhere.mkdir(mode=0o755)
            self.link.symlink_to(elsewhere)
        for directory in (self.instances, self.snapshots):
            directory.mkdir()

    def remove(self) -> None:
        """Remove all of it, DIR itself too."""
        if self.link.is_symlink():
            shutil.rmtree(self.volumes, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def walkable(directory: Path, owner: Owner) -> bool:
    """Whether `owner` may pass through `directory` and all above it (x for others, or for itself as owner)."""
    if owner.uid == os.geteuid():
        return True
    stats = [path.stat() for path in (directory, *directory.parents)]
    return all(s.st_mode & 0o001 or (s.st_uid == owner.uid and s.st_mode & 0o100) for s in stats)
