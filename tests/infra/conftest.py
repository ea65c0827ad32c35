"""The stack's own program, in-process, without AWS."""

from pathlib import Path
from typing import Any

import pytest

from encryptdb.lab.pulumi.engine import Program, run
from encryptdb.lab.pulumi.monitor import Monitor
from encryptdb.stacks.observe import Seen
from encryptdb.stacks.plan import decide
from encryptdb.stacks.program import declare as declare_plan
from encryptdb.stacks.program import export
from tests.infra.worlds import AURORA, RDS, Declaration, Declare, Declared, Kind, settings


@pytest.fixture(params=[RDS, AURORA], ids=["rds", "aurora"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of the two that can be migrated."""
    found: Kind = request.param
    return found


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Decide, then declare: everything of the program but the reading of AWS."""

    def with_(world: Seen, **config: Any) -> Declaration:
        chosen = settings(**config)

        def main() -> None:
            export(declare_plan(decide(chosen, world)).outputs)

        deployment = Declared(tmp_path / "state.json")
        monitor = Monitor(deployment, {})
        run(Program(main, tmp_path, "encryptdb", chosen.stack, {}), monitor, preview=False)
        return Declaration(deployment.goals, monitor.outputs)

    return with_
