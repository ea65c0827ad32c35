"""The lab's engine has Pulumi's semantics: shown on a resource type whose things are only remembered."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest

from encryptdb.lab.provider.base import Calls, Interrupted, Properties
from encryptdb.lab.pulumi.deployment import Changes, DeploymentError, ProtectedError
from encryptdb.lab.pulumi.engine import Program, update
from encryptdb.lab.pulumi.state import Pending, State, StateError
from encryptdb.lab.pulumi.step import seconds, with_ignored
from encryptdb.stacks.contract.errors import ConfigError
from tests.infra.worlds import Remembered, silent

TYPE = "test:index:Thing"


class Thing(pulumi.CustomResource):
    """A resource with whatever inputs."""

    made: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, **inputs: Any) -> None:
        super().__init__(TYPE, name, {"label": name, "resourceId": None, **inputs}, opts)


@dataclass
class Engine:
    """One stack, brought up again and again."""

    directory: Path
    handler: Remembered = field(default_factory=Remembered)
    changes: Changes = field(default_factory=Changes)

    @property
    def file(self) -> Path:
        return self.directory / "state.json"

    def up(self, main: Callable[[], object]) -> Properties:
        self.handler.calls.clear()
        program = Program(main, self.directory, "encryptdb", "orders-prod", {})

        def keep(done: Changes) -> None:
            self.changes = done

        with State.open(self.file) as state:
            return update(program, state, Calls(say=silent), keep, {TYPE: self.handler}, {})


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def one(**inputs: Any) -> Callable[[], object]:
    return lambda: Thing("one", **inputs)


def chain(*names: str) -> Callable[[], object]:
    """Things of which each needs the one before."""

    def main() -> None:
        before: Thing | None = None
        for name in names:
            before = Thing(name, needs=before.id if before else None)

    return main


def test_a_second_up_asks_for_nothing(engine: Engine) -> None:
    engine.up(chain("one", "two"))
    assert engine.handler.calls == ["create one", "create two"]
    before = engine.file.read_text()
    engine.up(chain("one", "two"))
    assert engine.handler.calls == []
    assert engine.changes == Changes(same=2)
    assert engine.file.read_text() == before


def test_outputs_of_one_feed_the_next_and_the_stack(engine: Engine) -> None:
    def main() -> None:
        first = Thing("one")
        Thing("two", above=first.id)
        pulumi.export("id", first.id)

    assert engine.up(main) == {"id": "id-1"}
    assert engine.handler.things["id-2"]["above"] == "id-1"


def test_a_changed_input_is_an_update_in_place(engine: Engine) -> None:
    engine.up(one(size=1))
    engine.up(one(size=2))
    assert engine.handler.calls == ["update one"]
    assert engine.changes.updated == ["one"]


def test_a_change_that_cannot_be_made_in_place_replaces_and_the_new_one_comes_first(engine: Engine) -> None:
    engine.up(one(kind="a"))
    engine.up(one(kind="b"))
    assert engine.handler.calls == ["create one", "delete one"]
    assert engine.changes.replaced == ["one"]
    assert [t["kind"] for t in engine.handler.things.values()] == ["b"]


def test_the_old_one_goes_first_where_the_program_says_so(engine: Engine) -> None:
    options = pulumi.ResourceOptions(delete_before_replace=True)
    engine.up(lambda: Thing("one", kind="a", opts=options))
    engine.up(lambda: Thing("one", kind="b", opts=options))
    assert engine.handler.calls == ["delete one", "create one"]


def test_the_old_one_goes_first_where_both_would_have_one_name(engine: Engine) -> None:
    engine.handler.named_by = "label"
    engine.up(one(kind="a"))
    engine.up(one(kind="b"))
    assert engine.handler.calls == ["delete one", "create one"]


def test_what_is_declared_no_more_is_deleted_dependents_first(engine: Engine) -> None:
    engine.up(chain("one", "two", "three"))
    engine.up(chain("one"))
    assert engine.handler.calls == ["delete three", "delete two"]
    engine.up(lambda: None)
    assert engine.handler.calls == ["delete one"]
    assert json.loads(engine.file.read_text())["resources"] == []


def test_what_is_retained_is_forgotten_but_not_deleted(engine: Engine) -> None:
    engine.up(lambda: Thing("one", opts=pulumi.ResourceOptions(retain_on_delete=True)))
    engine.up(lambda: None)
    assert engine.handler.calls == []
    assert engine.handler.things


def protected(**inputs: Any) -> Callable[[], object]:
    return lambda: Thing("safe", opts=pulumi.ResourceOptions(protect=True), **inputs)


def test_deleting_what_is_protected_is_refused_before_anything_is_touched(engine: Engine) -> None:
    engine.up(protected())
    with pytest.raises(ProtectedError, match="safe"):
        engine.up(one())
    assert engine.handler.calls == []


def test_replacing_what_is_protected_is_refused_before_anything_is_touched(engine: Engine) -> None:
    engine.up(protected(kind="a"))

    def main() -> None:
        Thing("other")
        protected(kind="b")()

    with pytest.raises(ProtectedError, match="kind"):
        engine.up(main)
    assert engine.handler.calls == []


def test_protection_ends_with_an_up_that_takes_it_off(engine: Engine) -> None:
    engine.up(protected())
    engine.up(lambda: Thing("safe"))
    engine.up(lambda: None)
    assert engine.handler.calls == ["delete safe"]


def test_what_is_protected_and_gone_from_aws_is_dropped(engine: Engine) -> None:
    engine.up(protected())
    engine.handler.things.clear()
    engine.up(lambda: None)
    assert json.loads(engine.file.read_text())["resources"] == []


def ignoring(*paths: str, **inputs: Any) -> Callable[[], object]:
    return lambda: Thing("one", opts=pulumi.ResourceOptions(ignore_changes=list(paths)), **inputs)


def test_ignored_changes_keep_the_value_of_the_creation(engine: Engine) -> None:
    engine.up(ignoring("kind", kind="a", size=1))
    engine.up(ignoring("kind", kind="b", size=1))
    assert engine.handler.calls == []
    engine.up(ignoring("kind", kind="b", size=2))
    assert engine.handler.calls == ["update one"]
    assert engine.handler.things["id-1"]["kind"] == "a"


def test_ignoring_everything_changes_nothing(engine: Engine) -> None:
    engine.up(one(kind="a", size=1))
    engine.up(ignoring("*", kind="b", other=3))
    assert engine.handler.calls == []
    engine.up(one(kind="a", size=1))
    assert engine.handler.calls == []


@pytest.mark.parametrize("path", ["tags", "tags.a", 'tags["a"]'])
def test_ignored_paths(path: str) -> None:
    assert with_ignored({"tags": {"a": 1}, "n": 1}, {"tags": {"a": 2}, "n": 2}, (path,)) == {"tags": {"a": 1}, "n": 2}
    assert with_ignored({"n": 1}, {"tags": {"a": 2}, "n": 1}, (path,)) == {"n": 1}


def test_the_order_of_a_set_is_no_difference(engine: Engine) -> None:
    engine.up(one(parameters=[{"name": "a"}, {"name": "b"}]))
    engine.up(one(parameters=[{"name": "b"}, {"name": "a"}]))
    assert engine.handler.calls == []


def test_after_a_failure_what_was_made_is_kept_and_the_next_up_goes_on(engine: Engine) -> None:
    engine.handler.failing = {"two"}
    with pytest.raises(DeploymentError, match="creating two: no capacity"):
        engine.up(chain("one", "two", "three"))
    assert engine.changes.created == ["one"]
    engine.handler.failing = set()
    engine.up(chain("one", "two", "three"))
    assert engine.handler.calls == ["create two", "create three"]


def test_a_failure_leaves_no_deletion_undone_for_good(engine: Engine) -> None:
    engine.up(one(kind="a"))
    engine.handler.failing = {"two"}

    def main() -> None:
        first = Thing("one", kind="b")
        Thing("two", needs=first.id)

    with pytest.raises(DeploymentError):
        engine.up(main)
    assert [t["kind"] for t in engine.handler.things.values()] == ["a", "b"]
    engine.handler.failing = set()
    engine.up(main)
    assert [t.get("kind") for t in engine.handler.things.values()] == ["b", None]


def test_a_creation_that_was_cut_off_is_taken_over_not_repeated(engine: Engine) -> None:
    """Killed between AWS's answer and the writing of the state: only the note that it was begun is left."""
    engine.up(one(size=1))
    document = json.loads(engine.file.read_text())
    made = document["resources"].pop()
    document["pending"] = [{"urn": made["urn"], "type": made["type"], "inputs": made["inputs"]}]
    engine.file.write_text(json.dumps(document))
    engine.up(one(size=1))
    assert engine.handler.calls == []
    assert engine.changes.created == ["one"]
    engine.up(one(size=2))
    assert engine.handler.calls == ["update one"]


def test_a_creation_that_never_reached_aws_is_begun_again(engine: Engine) -> None:
    state = State(engine.file, [], [])
    state.begin(Pending("urn:pulumi:orders-prod::encryptdb::test:index:Thing::one", TYPE, {"label": "one"}))
    engine.up(one())
    assert engine.handler.calls == ["create one"]
    assert json.loads(engine.file.read_text())["pending"] == []


def test_a_program_that_refuses_touches_nothing(engine: Engine) -> None:
    engine.up(one())

    def main() -> None:
        Thing("two")
        raise ConfigError("phase", "it is wrong.", "Mend it.")

    with pytest.raises(ConfigError, match="encryptdb:phase"):
        engine.up(main)
    assert engine.handler.calls == []


def test_two_updates_at_once_are_refused(engine: Engine) -> None:
    with State.open(engine.file), pytest.raises(StateError, match="another update"):
        engine.up(one())


def test_a_damaged_state_is_not_taken_for_an_empty_one(engine: Engine) -> None:
    engine.file.write_text("{")
    with pytest.raises(StateError, match="not a state file"):
        engine.up(one())


def test_secrets_never_reach_the_state(engine: Engine) -> None:
    with pytest.raises(DeploymentError, match="secret"):
        engine.up(lambda: Thing("one", password=pulumi.Output.secret("hunter2")))
    assert not engine.file.exists() or "hunter2" not in engine.file.read_text()


def test_a_component_is_a_parent_and_nothing_more(engine: Engine) -> None:
    def main() -> None:
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        Thing("one", opts=pulumi.ResourceOptions(parent=parent))

    engine.up(main)
    urns = [r["urn"] for r in json.loads(engine.file.read_text())["resources"]]
    assert "urn:pulumi:orders-prod::encryptdb::test:index:Parent$test:index:Thing::one" in urns
    engine.up(lambda: None)
    assert engine.handler.calls == ["delete one"]


@pytest.mark.parametrize(("text", "wanted"), [("12h", 43200.0), ("1h30m", 5400.0), ("45s", 45.0), ("250ms", 0.25)])
def test_deadlines_are_go_durations(text: str, wanted: float) -> None:
    assert seconds({"create": text}, "create") == wanted


def test_a_wait_ends_at_its_deadline_and_says_what_it_last_saw() -> None:
    clock = iter(range(0, 1000, 10))
    calls = Calls(say=silent, now=lambda: float(next(clock)))
    with pytest.raises(Exception, match=r"gave up after 25 s of waiting for the copy; last seen: copying"):
        calls.wait("the copy", 25, lambda: (False, "copying"))


def test_a_wait_ends_at_once_when_it_is_to_stop() -> None:
    calls = Calls(say=silent, stop=threading.Event())
    calls.stop.set()
    with pytest.raises(Interrupted, match="it goes on in AWS"):
        calls.wait("the copy", 3600, lambda: (False, "copying"))
