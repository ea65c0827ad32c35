"""The command as its reader has it: the page that it prints, the import file and the commands taken out of it and run.

The lab's provider has no schema, and without one `pulumi import` cannot generate code (`--generate-code=false`). Here
the program is made from the inputs that the import has put into the state, which the generated code would hold.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from encryptdb.stacks.contract.outputs import Outputs
from tests.engine.conftest import World
from tests.engine.engines import ROOT, SECONDS, Real


@dataclass
class Page:
    """What `python -m controller adopt` printed, told and ended with."""

    status: int
    text: str
    told: str

    def blocks(self, language: str, after: str = "") -> list[str]:
        """The fenced blocks of a language, from a heading on."""
        text = self.text[self.text.index(after) :]
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def adopt(world: World, one: Real, *options: str) -> Page:
    """Run the command on what the stack's outputs are now."""
    file = one.project / f"{one.name}.outputs.json"
    file.write_text(one.pulumi("stack", "output", "--json").succeed().text)
    login = {"ENCRYPTDB_SOURCE_USER": world.source["user"], "ENCRYPTDB_SOURCE_PASSWORD": world.source["password"]}
    done = subprocess.run(
        [sys.executable, "-m", "controller", "adopt", "--outputs", str(file), *options],
        cwd=ROOT,
        env={**os.environ, **login},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Page(done.returncode, done.stdout, done.stderr)


PROGRAM = """
import json
from pathlib import Path

import pulumi

for resource in json.loads(Path("resources.json").read_text()):
    options = pulumi.ResourceOptions(protect=True, version=resource["version"])
    pulumi.CustomResource(resource["type"], resource["name"], resource["inputs"], options)
"""


def owner_of(page: Page, one: Real, directory: Path) -> Real:
    """A project of the owner's, without a program yet."""
    project = directory / "owner"
    (project / "stacks").mkdir(parents=True)
    (project / "Pulumi.yaml").write_text("name: owner\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (project / ".venv").symlink_to((one.project / ".venv").resolve())
    (project / "__main__.py").write_text("")
    (file,) = page.blocks("json")
    (project / "import.json").write_text(file)
    return Real(one.cli, project, f"owner-{one.name}")


def import_into(owner: Real, page: Page) -> dict[str, list[str]]:
    """The page's own command, but for the code; then the program that the code would be."""
    (command,) = page.blocks("sh", after="## 1.")[:1]
    name, *words = command.split()
    assert (name, words[-2:]) == ("pulumi", ["--out", "adopted"])
    done = operations(owner, *words[:-2], "--generate-code=false", "--yes")
    state = owner.state()["resources"]
    adopted = [r for r in state if r["type"].startswith("aws:")]
    assert all(r["protect"] for r in adopted)
    described = [
        {"type": r["type"], "name": r["urn"].split("::")[-1], "inputs": r["inputs"], "version": version("pulumi-aws")}
        for r in adopted
    ]
    (owner.project / "resources.json").write_text(json.dumps(described))
    (owner.project / "__main__.py").write_text(PROGRAM)
    return done


def change(owner: Real, name: str, **inputs: Any) -> None:
    """The owner edits a declaration."""
    file = owner.project / "resources.json"
    described = json.loads(file.read_text())
    (one,) = (r for r in described if r["name"] == name)
    one["inputs"] |= inputs
    file.write_text(json.dumps(described))


def up(owner: Real) -> dict[str, list[str]]:
    """One update, with what the engine says of each resource: its operations, by kind."""
    return operations(owner, "up", "--yes", "--skip-preview")


def operations(owner: Real, *command: str) -> dict[str, list[str]]:
    log = owner.project / "events"
    log.unlink(missing_ok=True)
    owner.pulumi(*command, "--event-log", str(log)).succeed()
    done: dict[str, list[str]] = {}
    for event in map(json.loads, log.read_text().splitlines()):
        metadata: dict[str, Any] = (event.get("resOutputsEvent") or {}).get("metadata") or {}
        if metadata.get("type", "").startswith("aws:"):
            done.setdefault(metadata["op"], []).append(metadata["urn"].split("::")[-1])
    return {op: sorted(names) for op, names in done.items()}


def remove(page: Page, one: Real) -> None:
    """Run every command of the page's last section, in the directory of the stack's project, as a shell does."""
    git = ["git", "-c", "user.name=owner", "-c", "user.email=owner@example.com"]
    for command in (["init", "-q"], ["add", f"stacks/Pulumi.{one.name}.yaml"], ["commit", "-qm", "A stack"]):
        subprocess.run([*git, *command], cwd=one.project, check=True, capture_output=True)
    environment = one.cli.environment()
    path = f"{one.cli.binary.parent}:{environment['PATH']}"
    for script in page.blocks("sh", after="## 4."):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=one.project,
            env={**environment, "PATH": path, "PULUMI_SKIP_CONFIRMATIONS": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, script + done.stdout + done.stderr


def write_row(world: World, outputs: Outputs) -> None:
    """Something of the owner's, on the target."""
    with connect(world, outputs) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def row(world: World, outputs: Outputs) -> int:
    with connect(world, outputs) as connection:
        found = connection.execute("SELECT answer FROM kept").fetchone()
    assert found
    return int(found[0])


def connect(world: World, outputs: Outputs) -> "psycopg.Connection[tuple[Any, ...]]":
    assert outputs.target
    return psycopg.connect(
        host=outputs.target.host,
        port=outputs.target.port,
        user=world.source["user"],
        password=world.source["password"],
        dbname="orders",
        connect_timeout=10,
    )


def exists(one: Real) -> bool:
    """Whether the backend knows the stack."""
    listed = json.loads(one.pulumi("stack", "ls", "--json").succeed().text)
    return any(s["name"].split("/")[-1] == one.name for s in listed)
