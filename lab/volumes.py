"""An instance's storage: a plain directory, or a gocryptfs filesystem under a data key from KMS."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from encryptdb.lab import processes
from encryptdb.lab.errors import LabError
from encryptdb.lab.processes import Owner
from encryptdb.lab.vault import Keys

Encryption = Literal["gocryptfs", "flag only"]

READY = "Filesystem mounted and ready."
"""What gocryptfs says once it serves (its mount.go, doMount); `-q` would silence it."""


def encryption() -> Encryption:
    """What StorageEncrypted means in this lab: a filesystem that is really encrypted, or no more than the flag."""
    can = shutil.which("gocryptfs") and _fusermount() and os.access("/dev/fuse", os.R_OK | os.W_OK)
    return "gocryptfs" if can else "flag only"


@dataclass(frozen=True)
class Volume:
    """`directory` is the instance's; the server sees only `mount`, and the data directory is inside it."""

    directory: Path
    owner: Owner
    key_arn: str | None

    @property
    def mount(self) -> Path:
        return self.directory / "volume"

    @property
    def data(self) -> Path:
        return self.mount / "data"

    @property
    def cipher(self) -> Path:
        return self.directory / "cipher"

    @property
    def encrypted(self) -> bool:
        """Whether bytes on disk are really encrypted, whatever the flag says."""
        return self.cipher.is_dir()

    def create(self, keys: Keys) -> None:
        """Make the storage, mounted and empty. Raises LabError when the encrypted filesystem does not come up."""
        self.directory.mkdir(mode=0o755)
        self.mount.mkdir()
        if self.key_arn is not None and encryption() == "gocryptfs":
            secret, wrapped = keys.generate(self.key_arn)
            (self.directory / "volume.key").write_bytes(wrapped)
            self.cipher.mkdir(mode=0o700)
            # scrypt protects weak passphrases; this one is 256 random bits, so its cost buys nothing.
            argv = ["gocryptfs", "-q", "-nosyslog", "-init", "-scryptn", "10", str(self.cipher)]
            processes.run(argv, "making the encrypted filesystem", input=secret.hex() + "\n")
            self._mount(secret)
        self.owner.own(self.mount)
        self.mount.chmod(0o700)

    def _mount(self, secret: bytes) -> None:
        # Only root may let another user (the servers') into its mounts; without root the mount is the servers' own.
        # With -allow_other alone gocryptfs creates each file under the caller's id, and when two callers create at once
        # a file may end up root's, which the server then cannot open. So every file is shown as the servers' own.
        share = ["-allow_other", "-force_owner", f"{self.owner.uid}:{self.owner.gid}"] if os.geteuid() == 0 else []
        argv = ["gocryptfs", "-nosyslog", "-fg", *share, str(self.cipher), str(self.mount)]
        log = self.directory / "gocryptfs.log"
        child = processes.spawn(argv, log, stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(secret.hex().encode() + b"\n")
        child.stdin.close()
        (self.directory / "gocryptfs.pid").write_text(str(child.pid))
        # The mount can be seen before gocryptfs serves it: it first opens a file in its own mount (go-fuse,
        # fuse/poll_linux.go). A mkdir of ours in that moment locks the directory which that open needs, and both wait
        # for ever, where no signal reaches them. Its own word comes after that.
        try:
            processes.wait_until(
                lambda: READY in log.read_text() or child.poll() is not None, "the encrypted filesystem", 20
            )
        except LabError:
            child.kill()
            raise
        if child.poll() is not None:
            raise LabError(f"gocryptfs does not mount: {log.read_text().strip()[-500:]}")

    def destroy(self) -> None:
        """Unmount and remove. The data directory's server must have ended."""
        release(self.mount)
        pid = self.directory / "gocryptfs.pid"
        if pid.is_file():
            processes.end(int(pid.read_text()), [(signal.SIGTERM, 5), (signal.SIGKILL, 5)], "gocryptfs")
        shutil.rmtree(self.directory, ignore_errors=True)


def release(mount: Path) -> None:
    """Unmount, if it is a mount. Raises LabError when something still uses it."""
    if os.path.ismount(mount):
        program = _fusermount()
        argv = [program, "-u", str(mount)] if program else ["umount", str(mount)]
        processes.run(argv, "unmounting the encrypted filesystem")


def _fusermount() -> str | None:
    return shutil.which("fusermount3") or shutil.which("fusermount")
