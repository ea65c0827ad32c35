"""The file that `controller init` writes is what the CLI itself takes as the stack's, with its comments."""

import os
import subprocess
import sys
from collections.abc import Callable

import yaml

from tests.engine.conftest import World
from tests.engine.engines import ROOT, SECONDS, Real, lay_project


def test_init_then_stack_init_then_up(world: World, real: Callable[[str], Real]) -> None:
    cli = real("scratch").cli
    project = world.directory.parent / "begun"
    lay_project(project)
    command = [sys.executable, "-m", "controller", "init", "orders-prod", "--stack", "orders"]
    done = subprocess.run(
        command,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file = project / "stacks" / "Pulumi.orders.yaml"
    before = file.read_text()

    stack = Real(cli, project, "orders")
    made = stack.up().succeed()
    assert made.created == ["link-to-source", "source-parameters", "target-parameters"]
    assert made.outputs is not None
    assert made.outputs["source"]["identifier"] == "orders-prod"
    assert made.outputs["switches"] == yaml.safe_load(before)["config"]["encryptdb:switches"]
    stack.up().changed_nothing()

    # The CLI adds the stack's salt, and takes nothing away, nor a comment.
    after = file.read_text()
    assert yaml.safe_load(after)["config"] == yaml.safe_load(before)["config"]
    assert {line.strip() for line in before.splitlines() if line.strip().startswith("#")} <= {
        line.strip() for line in after.splitlines()
    }

    # The next phase is a change of one line.
    stack.configure(phase="restore")
    assert "encryptdb:phase: restore" in file.read_text()
