"""`python -m lab pulumi`: the real Pulumi CLI and engine on a lab: which, in what environment, with what plugins."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from encryptdb.lab.errors import LabError
from encryptdb.lab.plugins.python import EXEC
from encryptdb.lab.pulumi.up import ROOT, environment

CLI = "pulumi"
HOST = "pulumi-language-python"
PROVIDER = "pulumi-resource-aws"

PASSPHRASE = "only-the-lab"
"""What the lab's stacks are encrypted with, where the caller's environment names none."""


@dataclass(frozen=True)
class Cli:
    """The CLI of one lab. Its state, in the CLI's own format, is in `DIR/pulumi`, and so is everything else of its."""

    directory: Path
    binary: Path

    @property
    def backend(self) -> Path:
        return self.directory / "pulumi" / "state"

    @property
    def plugins(self) -> Path:
        return self.directory / "pulumi" / "plugins"

    def environment(self) -> dict[str, str]:
        """A whole environment for the CLI: the lab in the place of AWS, and a state of its own."""
        self._set_up()
        ours = {
            "PATH": os.pathsep.join([str(self.plugins), str(self.binary.parent), os.environ.get("PATH", os.defpath)]),
            "PULUMI_HOME": str(self.directory / "pulumi" / "home"),
            "PULUMI_BACKEND_URL": self.backend.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": os.environ.get("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
            # The variables of a developer's own Pulumi are not the lab's.
            "PULUMI_ACCESS_TOKEN": "",
        }
        return {**os.environ, **environment(self.directory), **ours}

    def run(self, arguments: Iterable[str], cwd: Path = ROOT) -> int:
        """Run one command with the caller's own input and output; its exit status."""
        return subprocess.run([self.binary, *arguments], cwd=cwd, env=self.environment(), check=False).returncode

    def _set_up(self) -> None:
        self.backend.mkdir(parents=True, exist_ok=True)
        write_executable(self.plugins / PROVIDER, [sys.executable, "-m", "encryptdb.lab.plugins.aws"])
        if not shutil.which(HOST, path=os.pathsep.join([str(self.binary.parent), os.environ.get("PATH", "")])):
            write_executable(
                self.plugins / HOST, [sys.executable, "-m", "encryptdb.lab.plugins.python", str(self.binary.parent)]
            )


def of(directory: Path, environ: Mapping[str, str] = os.environ) -> Cli:
    """The CLI for the lab in `directory`. Raises LabError where there is none, or one that cannot run a program."""
    found = find(environ)
    if found is None:
        raise LabError(
            "The `pulumi` CLI is neither on PATH nor in the cache of this project.",
            "`python -m lab up` needs none: it runs the same program in-process.",
            "Install it (https://www.pulumi.com/docs/install/), or run: make engine",
            status=2,
        )
    path = os.pathsep.join([str(found.parent), environ.get("PATH", "")])
    if not shutil.which(HOST, path=path) and not (found.parent / EXEC).exists():
        raise LabError(
            f"{found} came without {HOST} and without {EXEC}.",
            "It can run no Python program.",
            "Install the whole release of the CLI, or run: make engine",
            status=2,
        )
    return Cli(directory.absolute(), found)


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """`pulumi` on PATH, else the newest that scripts/engine left in the cache."""
    on_path = shutil.which(CLI, path=environ.get("PATH", os.defpath))
    if on_path:
        return Path(on_path)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "encryptdb"
    cached = sorted(p for p in cache.glob(f"pulumi-*/bin/{CLI}") if os.access(p, os.X_OK))
    return cached[-1] if cached else None


def write_executable(path: Path, command: list[str]) -> None:
    """A program of that name that is the command, run from wherever the engine starts it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = " ".join(f"'{word}'" for word in command)
    text = f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec {words} \"$@\"\n"
    if path.exists() and path.read_text() == text:
        return
    # An engine may be about to start the one that is there.
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(beside.stat().st_mode | stat.S_IXUSR)
    beside.replace(path)
