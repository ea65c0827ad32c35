"""The wheel: what lands in site-packages, and that what it installs works outside of the checkout."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from encryptdb import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("encryptdb", "controller", "stacks", "lab")
FILES = ("Pulumi.yaml", "__main__.py", "pyproject.toml", "README.md", "LICENSE")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what an earlier build left in build/ would get into the wheel."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*(ROOT / name for name in FILES), *ROOT.glob("requirements*.txt")):
        shutil.copy(path, copy)
    run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(built), str(copy)], copy)
    (found,) = built.iterdir()
    return found


@dataclass
class Installed:
    """A fresh environment with the wheel in it, and a directory that is not the checkout. The dependencies are those of
    the environment that runs the tests, so that nothing is fetched."""

    place: Path
    environment: dict[str, str]

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return run(list(command), self.place, self.environment)

    def document(self, *command: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*command, "--json").stdout)
        return found


def run(command: list[str], cwd: Path, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    program = shutil.which(command[0], path=(environment or os.environ)["PATH"])
    assert program is not None, command[0]
    command = [program, *command[1:]]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("elsewhere")
    fresh = tmp_path_factory.mktemp("fresh")
    venv.create(fresh, with_pip=False, symlinks=True)
    python = fresh / "bin" / "python"
    run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], place)
    own = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], place).stdout.strip())
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "AWS_", "LAB_", "ENCRYPTDB_"))}
    return Installed(place, environment | {"PATH": f"{fresh / 'bin'}:{os.environ['PATH']}"})


@pytest.fixture(scope="module")
def lab(installed: Installed) -> Iterator[Installed]:
    """A lab that the installed package started, as the README tells it."""
    here = ("python", "-m", "encryptdb.lab")
    try:
        source = installed.document(*here, "start", "--dir", "lab", "--delay", "0.1")["source"]
        found = dict(installed.environment)
        for line in (installed.place / "lab" / "env").read_text().splitlines():
            name, _, value = (shlex.split(line, comments=True) or [""])[-1].partition("=")
            found |= {name: value} if name else {}
        found |= {"ENCRYPTDB_SOURCE_USER": source["user"], "ENCRYPTDB_SOURCE_PASSWORD": source["password"]}
        yield Installed(installed.place, found)
    finally:
        installed.run(*here, "stop", "--dir", "lab")


def test_one_package_lands_in_site_packages_with_all_that_it_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"encryptdb-{__version__}.dist-info/METADATA").decode()
    assert {name.split("/")[0] for name in names} == {"encryptdb", f"encryptdb-{__version__}.dist-info"}
    tracked = {
        f"encryptdb/{path.relative_to(ROOT)}"
        for folder in FOLDERS[1:]
        for pattern in ("*.py", "*.sql")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert tracked | {"encryptdb/__init__.py", "encryptdb/program/Pulumi.yaml", "encryptdb/program/__main__.py"} == {
        name for name in names if name.startswith("encryptdb/")
    }
    needed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    told = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert [line for line in told if "extra ==" not in line] == needed
    assert any("moto" in line and 'extra == "lab"' in line for line in told)


def test_the_command_and_the_modules_run_outside_of_the_checkout(installed: Installed) -> None:
    assert installed.run("encryptdb", "--version").stdout == f"encryptdb, version {__version__}\n"
    assert installed.run("encryptdb", "--help").stdout.startswith("Usage: encryptdb ")
    asked = installed.environment | {"_ENCRYPTDB_COMPLETE": "bash_source"}
    assert "complete -o nosort -F" in run(["encryptdb"], installed.place, asked).stdout
    for module in ("encryptdb.controller", "encryptdb.stacks", "encryptdb.lab"):
        assert "COMMAND" in installed.run("python", "-m", module, "--help").stdout
    where = installed.run("python", "-c", "import encryptdb.controller as c; print(c.__file__)").stdout
    assert str(ROOT) not in where
    for name in ("controller", "stacks", "lab"):
        found = installed.run("python", "-c", f"import importlib.util as u; print(u.find_spec({name!r}))").stdout
        assert found == "None\n"


@pytest.fixture(scope="module")
def prepared(lab: Installed) -> Installed:
    """The lab, once the migration has been prepared by hand."""
    begun = up(lab, "source=orders-prod", "phase=prepare")
    assert begun["outputs"]["phase"] == "prepare"
    assert lab.document("encryptdb", "prepare", "--stack", "orders", "--allow-reboot")["state"] == "prepared"
    return lab


def test_the_by_hand_way_begins_outside_of_the_checkout(prepared: Installed) -> None:
    assert prepared.document("encryptdb", "status", "--stack", "orders")["state"] == "prepared"


@pytest.mark.full
def test_the_by_hand_way_ends_outside_of_the_checkout(prepared: Installed) -> None:
    lab = prepared
    up(lab, "phase=restore")
    goals = {"replicate": "caught-up", "verify": "caught-up", "cutover": "open", "retire": "retired"}
    for command, state in goals.items():
        more = ["--end-rollback-window"] if command == "retire" else []
        assert lab.document("encryptdb", command, "--stack", "orders", *more)["state"] == state
    up(lab, "phase=retire")


def up(lab: Installed, *config: str) -> dict[str, Any]:
    given = [word for pair in config for word in ("--config", pair)]
    return lab.document("python", "-m", "encryptdb.lab", "up", "--dir", "lab", "--stack", "orders", *given)
