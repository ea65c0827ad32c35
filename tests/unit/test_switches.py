"""What holds for every kind of switch: it is registered, and its module shows a config that it accepts."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from encryptdb.controller.switches import Endpoint, Switch, build, guard, switch_class
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.names import SWITCH_KINDS

OLD, NEW = Endpoint("10.0.0.1", 5432, "orders"), Endpoint("10.0.0.2", 5432, "orders-encrypted-1")
ROOT = Path(__file__).resolve().parents[2]


def example(kind: str) -> dict[str, Any]:
    """The config in the docstring of the kind's module, without the remarks beside it."""
    text = str(sys.modules[switch_class(kind).__module__].__doc__)
    (shown,) = re.findall(r"^    (\{\"kind\": .*?\})(?:\s{2,}[^\n]*)?$", text, re.MULTILINE | re.DOTALL)
    shown = re.sub(r"\s{2,}optional:[^\n]*", "", shown).replace(' or ["pool"]', "")
    document: dict[str, Any] = json.loads(shown)
    return document


@pytest.fixture
def switch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Switch:
    monkeypatch.setenv("ENCRYPTDB_PGBOUNCER_PASSWORD", "hunter2")
    (made,) = build((example(request.param),), OLD, NEW, Aws("eu-central-1"))
    return made


@pytest.mark.parametrize("switch", SWITCH_KINDS, indirect=True)
def test_the_config_that_its_module_shows_is_accepted(switch: Switch) -> None:
    assert switch.kind in SWITCH_KINDS
    assert type(switch) is switch_class(switch.kind)
    assert switch.name


@pytest.mark.parametrize("switch", SWITCH_KINDS, indirect=True)
def test_one_that_holds_clients_can_resume_them_from_another_process(switch: Switch) -> None:
    """The guard gets `held` as JSON, and calls `resume_held`."""
    assert switch.holds_clients == ("pause" in vars(type(switch)))
    assert switch.holds_clients == bool(json.loads(json.dumps(switch.held())))
    assert switch.holds_clients == ("resume_held" in vars(type(switch)))


def test_every_module_with_a_switch_is_registered_in_the_program_too() -> None:
    paths = (ROOT / "controller" / "switches").glob("*.py")
    found = {p.stem.replace("_", "-") for p in paths if re.search(r"^SWITCH = ", p.read_text(), re.MULTILINE)}
    assert found == set(SWITCH_KINDS)


def test_those_that_hold_clients_come_first() -> None:
    documents = ({"kind": "rds-proxy", "proxy": "orders"}, {"kind": "command", "argv": ["x"]})
    assert [s.kind for s in build(documents, OLD, NEW, Aws("eu-central-1"))] == ["command", "rds-proxy"]


def test_without_one_that_holds_clients_there_is_no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    with guard.guarding(build(({"kind": "rds-proxy", "proxy": "orders"},), OLD, NEW, Aws("eu-central-1")), 1.0):
        pass
