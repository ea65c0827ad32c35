"""The engine killed in the middle, and AWS failing: one command brings the stack on, and nothing is made twice."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pytest

from tests.engine.conftest import World
from tests.engine.engines import Real, Stack, identities, is_kept

DELAY = 3.0
"""Long enough to be killed in."""

MADE = {
    "snapshot-1": ["encrypted-snapshot-1", "target-1"],
    "encrypted-snapshot-1": ["target-1"],
    "target-1": [],
}
"""What the next `up` has to make besides. On Pulumi's engine what was cut off is in the state by then."""


@pytest.mark.parametrize("cut_off", MADE)
def test_killed_while_it_made_something_it_goes_on_and_nothing_is_made_twice(
    world: World, stack: Callable[[str], Stack], cut_off: str
) -> None:
    one = stack(f"killed-{cut_off}")
    one.up(source="orders-prod", targetIdentifier=f"{one.name}-1").succeed()
    world.prepared(one.name)
    config(one, phase="restore")
    one.killed_while(cut_off)
    begun = ids(world, one)

    one.recover().succeed()
    made = one.up().succeed()
    assert made.created == (MADE[cut_off] if isinstance(one, Real) else sorted([cut_off, *MADE[cut_off]]))
    assert made.replaced == made.deleted == []
    assert len(world.made_for(one.name)) == 3
    assert is_kept(begun, ids(world, one))
    one.up().changed_nothing()


def test_recovering_twice_or_without_need_changes_nothing(world: World, real: Callable[[str], Real]) -> None:
    one = real("whole")
    world.up_to_restore(one)
    before = one.state()["resources"]
    for _ in range(2):
        assert "no creation was interrupted" in one.recover().succeed().text
    assert [(r["urn"], r.get("id")) for r in one.state()["resources"]] == [(r["urn"], r.get("id")) for r in before]
    one.up().changed_nothing()


def test_a_snapshot_that_fails_is_named_and_the_next_up_goes_on_without_it(
    world: World, stack: Callable[[str], Stack]
) -> None:
    one = stack("failing")
    one.up(source="orders-prod", targetIdentifier=f"{one.name}-1").succeed()
    world.prepared(one.name)
    name = f"encryptdb-{one.name}-1"
    with no_place_for_snapshots(world):
        failed = one.up(phase="restore")
    assert failed.status != 0
    assert "failed" in failed.text
    assert boto3.client("rds").describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["Status"] == "failed"

    again = one.up()
    assert again.status != 0
    assert f"aws rds delete-db-snapshot --db-snapshot-identifier {name}" in again.text

    boto3.client("rds").delete_db_snapshot(DBSnapshotIdentifier=name)
    one.recover().succeed()
    made = one.up().succeed()
    assert made.created == ["encrypted-snapshot-1", "snapshot-1", "target-1"]
    one.up().changed_nothing()


@contextmanager
def no_place_for_snapshots(world: World) -> Iterator[None]:
    """The disk that the lab writes snapshots to cannot be written to."""
    place = (world.directory / "volumes").resolve() / "snapshots"
    aside = place.with_name("aside")
    place.rename(aside)
    place.write_text("")
    try:
        yield
    finally:
        place.unlink()
        aside.rename(place)


def config(one: Stack, **values: str) -> None:
    """Keep a setting without bringing anything up."""
    if isinstance(one, Real):
        one.configure(**values)
        return
    # The in-process engine keeps what it is told with the next update, which is the one that is to be killed.
    path = next(p for p in one.files() if p.parent.name == "config")
    kept = json.loads(path.read_text()) | {f"encryptdb:{k}": v for k, v in values.items()}
    path.write_text(json.dumps(kept))


def ids(world: World, one: Stack) -> dict[str, str]:
    """What AWS has of the stack, by name."""
    found = identities()
    return {name: found[name] for name in world.made_for(one.name)}
