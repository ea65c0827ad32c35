"""Whatever happens to source and target later, no `up` touches what holds data: an engine that keeps a state tells."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encryptdb.lab.provider import HANDLERS
from encryptdb.lab.provider.base import Calls
from encryptdb.lab.pulumi.deployment import Changes
from encryptdb.lab.pulumi.engine import Program, update
from encryptdb.lab.pulumi.state import State
from encryptdb.stacks.cloud.database import Cluster, Instance
from encryptdb.stacks.observe import Seen
from encryptdb.stacks.plan import decide
from encryptdb.stacks.program import declare, export
from encryptdb.stacks.settings import Overrides
from tests.infra.worlds import AURORA, SOURCE_CLUSTER, Kind, Remembered, member_of, settings, silent


class Stack:
    """One stack that is brought up again and again, in one world after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.handler = directory, Remembered()

    def up(self, world: Seen, **config: Any) -> Changes:
        chosen = settings(**config)
        done: list[Changes] = []

        def main() -> None:
            export(declare(decide(chosen, world)).outputs)

        program = Program(main, self.directory, "encryptdb", chosen.stack, {})
        with State.open(self.directory / "state.json") as state:
            update(program, state, Calls(say=silent), done.append, dict.fromkeys(HANDLERS, self.handler), {})
        return done[0]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def touched(changes: Changes) -> set[str]:
    """What was not left alone, of what holds data."""
    names = [*changes.created, *changes.updated, *changes.replaced, *changes.deleted]
    return {n for n in names if n.startswith(("target-1", "snapshot", "encrypted"))}


def other_source(kind: Kind, **changes: Any) -> Callable[[], Seen]:
    return lambda: kind.restored(source=dataclasses.replace(kind.source, **changes))


def other_target(kind: Kind, **changes: Any) -> Callable[[], Seen]:
    def world() -> Seen:
        target = kind.target_of(1, **changes)
        names = {m.identifier for m in target.members} if isinstance(target, Cluster) else {target.identifier}
        return kind.restored(targets={1: target}, identifiers=frozenset(names))

    return world


LATER: dict[str, Callable[[Kind], Callable[[], Seen]]] = {
    "nothing": lambda kind: kind.restored,
    "the source is gone": lambda kind: lambda: kind.restored(source=None),
    "the source was renamed": lambda kind: other_source(kind, identifier="orders-old"),
    "the source was upgraded": lambda kind: other_source(kind, engine_version="15.9"),
    "the source got other groups and logs": lambda kind: other_source(kind, security_groups=("sg-7",), log_exports=()),
    "the source gave up IAM authentication": lambda kind: other_source(kind, iam_authentication=False),
    "the source got other tags": lambda kind: other_source(kind, tags={"team": "billing"}),
    "the target was renamed": lambda kind: other_target(kind, identifier="orders-new"),
    "the target was upgraded": lambda kind: other_target(kind, engine_version="15.9"),
    "the target moved": lambda kind: other_target(kind, subnet_group="another", port=5555, security_groups=("sg-7",)),
    "the target lost its tags": lambda kind: other_target(
        kind, tags={k: v for k, v in kind.target_of(1).tags.items() if k.startswith("encryptdb:")}
    ),
}


@pytest.mark.parametrize("later", LATER)
def test_a_later_up_changes_nothing_of_source_or_target(stack: Stack, kind: Kind, later: str) -> None:
    stack.up(kind.seen(), phase="prepare")
    assert touched(stack.up(kind.seen(), phase="restore")) == kind.made
    assert touched(stack.up(LATER[later](kind)(), phase="restore")) == set()


def test_retire_deletes_the_snapshots_and_nothing_else_that_holds_data(stack: Stack, kind: Kind) -> None:
    stack.up(kind.seen(), phase="restore")
    gone = stack.up(kind.gone(), phase="retire")
    assert touched(gone) == {n for n in kind.made if "snapshot" in n}
    assert touched(stack.up(kind.gone(), phase="retire")) == set()


def test_the_next_attempt_leaves_the_target_of_the_first_alone(stack: Stack, kind: Kind) -> None:
    stack.up(kind.seen(), phase="restore")
    begun = stack.up(kind.restored(snapshot=None, encrypted=None), attempt=2)
    assert touched(begun) == {n for n in kind.made if "snapshot" in n}


CLUSTERS_LATER: dict[str, dict[str, Any]] = {
    "it failed over": {"members": (member_of("t", 2), member_of("t", 1))},
    "an instance was resized": {"members": (member_of("t", 1, instance_class="db.r9g.large"), member_of("t", 2))},
    "the owner added a reader": {"members": (member_of("t", 1), member_of("t", 2), member_of("theirs", 1))},
    "an instance is away": {"members": (member_of("t", 1),)},
    "AWS upgraded it": {"engine_version": "15.10"},
}


@pytest.mark.parametrize("later", CLUSTERS_LATER)
def test_a_later_up_leaves_a_clusters_instances_alone(stack: Stack, later: str) -> None:
    def as_made(member: Instance) -> Instance:
        """The same with the name and the tags that the program gave it."""
        if member.member_of != "t":
            return member
        number = int(member.identifier.removeprefix("t-"))
        made = next(m for m in standing.members if m.identifier.endswith(f"-{number}"))
        return dataclasses.replace(member, identifier=made.identifier, tags=made.tags)

    standing = AURORA.target_of(1)
    assert isinstance(standing, Cluster)
    changes = dict(CLUSTERS_LATER[later])
    if "members" in changes:
        changes["members"] = tuple(as_made(m) for m in changes["members"])
    stack.up(AURORA.seen(), phase="restore")
    assert touched(stack.up(other_target(AURORA, **changes)(), phase="restore")) == set()


@pytest.mark.parametrize("count", [1, 3])
def test_a_later_up_makes_no_reader_more_or_less_when_the_source_does(stack: Stack, count: int) -> None:
    stack.up(AURORA.seen(), phase="restore")
    members = tuple(member_of("orders-prod", n) for n in range(1, count + 1))
    world = AURORA.restored(source=dataclasses.replace(SOURCE_CLUSTER, members=members))
    assert touched(stack.up(world, phase="restore")) == set()


def test_a_clusters_explicit_config_is_changed_in_place(stack: Stack) -> None:
    stack.up(AURORA.seen(), phase="restore")
    chosen = Overrides(instance_class="db.r7g.large", security_groups=("sg-9",))
    done = stack.up(AURORA.restored(), phase="restore", overrides=chosen)
    assert (set(done.updated) & AURORA.made, done.replaced) == ({"target-1", "target-1-1", "target-1-2"}, [])
