"""One stack on one lab, brought up by either engine: `pulumi` itself, or the in-process one of `lab up`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import boto3

from encryptdb.lab.pulumi.cli import Cli

ROOT = Path(__file__).parents[2]
SECONDS = 180.0

KEYS = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}


@dataclass
class Result:
    """How one command ended, and what it did to the resources (logical names, sorted; components left out)."""

    status: int
    text: str
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    outputs: dict[str, Any] | None = None

    @property
    def touched(self) -> list[str]:
        return sorted([*self.created, *self.updated, *self.replaced, *self.deleted])

    def succeed(self) -> "Result":
        assert self.status == 0, self.text
        return self

    def changed_nothing(self) -> None:
        self.succeed()
        assert self.touched == [], self.text


class Stack(Protocol):
    """What every engine can do to a stack."""

    name: str

    def up(self, **config: Any) -> Result: ...
    def killed_while(self, creating: str) -> None: ...
    def recover(self) -> Result: ...
    def files(self) -> list[Path]: ...


@dataclass
class InProcess:
    """`python -m lab up`."""

    directory: Path
    name: str

    def up(self, **config: Any) -> Result:
        return self._result(*self._finished(self._start(config)))

    def killed_while(self, creating: str) -> None:
        """An update, killed while it made that."""
        kill(self._start({}), f"creating {creating}")

    def recover(self) -> Result:
        """Nothing comes before the next `lab up`."""
        return Result(0, "")

    def files(self) -> list[Path]:
        return [p for d in ("state", "config", "outputs") for p in (self.directory / d).glob(f"{self.name}.*")]

    def _start(self, config: Mapping[str, Any]) -> "subprocess.Popen[str]":
        options = [word for k, v in config.items() for word in ("--config", f"{k}={v}")]
        command = [sys.executable, "-m", "lab", "up", "--dir", str(self.directory), "--stack", self.name, "--json"]
        return start([*command, *options], ROOT, dict(os.environ))

    def _finished(self, process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    def _result(self, status: int, out: str, err: str) -> Result:
        document = json.loads(out)
        done = {k: sorted(document[k]) for k in KEYS.values()}
        return Result(status, err, outputs=document["outputs"], **done)


@dataclass
class Real:
    """The `pulumi` CLI, in a directory of its own that holds the project: the CLI writes its config beside it."""

    cli: Cli
    project: Path
    name: str

    def __post_init__(self) -> None:
        if not self.project.exists():
            lay_project(self.project)
        self.pulumi("stack", "init").succeed()

    def up(self, **config: Any) -> Result:
        self.configure(**config)
        return self.changing("up", "--yes", "--skip-preview")

    def configure(self, **config: Any) -> None:
        words = [word for k, v in config.items() for word in ("--plaintext", f"encryptdb:{k}={v}")]
        if words:
            self.pulumi("config", "set-all", *words).succeed()

    def changing(self, *command: str) -> Result:
        """Run a command that brings resources about, and read what it did from the engine's own events."""
        log = self.project / f"{self.name}.events"
        log.unlink(missing_ok=True)
        result = self.pulumi(*command, "--event-log", str(log))
        for event in map(json.loads, log.read_text().splitlines() if log.exists() else ()):
            metadata = (event.get("resOutputsEvent") or {}).get("metadata")
            if metadata and metadata["op"] in KEYS and metadata["type"].startswith("aws:"):
                getattr(result, KEYS[metadata["op"]]).append(metadata["urn"].split("::")[-1])
        for kind in KEYS.values():
            getattr(result, kind).sort()
        if result.status == 0:
            result.outputs = json.loads(self.pulumi("stack", "output", "--json").succeed().text)
        return result

    def pulumi(self, *command: str) -> Result:
        """Run the CLI without a terminal."""
        process = self._start(*command)
        out, err = process.communicate(timeout=SECONDS)
        quiet = command[:1] == ("stack",)
        return Result(process.returncode, out if quiet and process.returncode == 0 else out + err)

    def killed_while(self, creating: str) -> None:
        """An update, killed while it made that."""
        kill(self._start("up", "--yes", "--skip-preview"), f" {creating} creating")

    def recover(self) -> Result:
        """The documented command."""
        command = ["-m", "encryptdb.stacks", "recover", "--stack", self.name, "--wait", "120", "--cancel"]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.project,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Result(done.returncode, done.stdout + done.stderr)

    def state(self) -> dict[str, Any]:
        """The deployment as the engine has written it."""
        document: dict[str, Any] = json.loads(self.pulumi("stack", "export").succeed().text)
        return dict(document["deployment"])

    def files(self) -> list[Path]:
        kept = [p for p in self.cli.backend.rglob("*") if p.is_file() and f"/{self.name}" in str(p)]
        return [*kept, self.project / "stacks" / f"Pulumi.{self.name}.yaml"]

    def _start(self, *command: str) -> "subprocess.Popen[str]":
        named = [] if command[:2] == ("stack", "ls") else ["--stack", self.name]
        return start([str(self.cli.binary), *command, *named, "--non-interactive"], self.project, self._environment())

    def _environment(self) -> dict[str, str]:
        # The event log is there for programs such as the automation API, behind this switch.
        return self.cli.environment() | {"PULUMI_DEBUG_COMMANDS": "true", "NO_COLOR": "1"}


def lay_project(directory: Path) -> None:
    """A project directory like the repository's, with the same program, and config files of its own."""
    directory.mkdir(parents=True)
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, directory / name)
    shutil.copytree(ROOT / "stacks", directory / "stacks", ignore=shutil.ignore_patterns("__pycache__", "Pulumi.*"))
    shutil.copytree(ROOT / "encryptdb", directory / "encryptdb", symlinks=True)
    for name in ("controller", "lab"):
        (directory / name).symlink_to(ROOT / name)
    (directory / ".venv").symlink_to(sys.prefix)


def identities() -> dict[str, str]:
    """Every instance and manual snapshot by name, with what tells it from another of that name; of a snapshot that is
    still being taken nothing does: it gets its time when the data is there."""
    rds = boto3.client("rds")
    found = {i["DBInstanceIdentifier"]: i["DbiResourceId"] for i in rds.describe_db_instances()["DBInstances"]}
    for s in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
        found[s["DBSnapshotIdentifier"]] = str(s["SnapshotCreateTime"]) if s["Status"] == "available" else ""
    return found


def is_kept(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether what was there before, whole or begun, is still the same thing."""
    return all(name in now and identity in ("", now[name]) for name, identity in before.items())


def start(command: list[str], cwd: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: "subprocess.Popen[str]", at: str) -> None:
    """Kill the process without a warning once it says that (the CLI on standard output, `lab up` on the other)."""
    streams = [s for s in (process.stdout, process.stderr) if s]
    for stream in reversed(streams) if "lab" in process.args else streams:  # type: ignore[operator]
        for line in stream:
            if at in line:
                # The note that it begins is in the state before the line is told; AWS is asked right after it.
                time.sleep(0.5)
                process.send_signal(signal.SIGKILL)
                process.communicate(timeout=SECONDS)
                return
    raise AssertionError(f"it never said {at!r}")
