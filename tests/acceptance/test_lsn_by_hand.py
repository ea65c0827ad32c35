"""`replicate --lsn`: checked like a found one; and the evidence, in `replicate`, `status` and the report."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.commands import World, Writer, ledger, running

EXACT = re.compile(r"Exact is any LSN after ([0-9A-F]+/[0-9A-F]+) up to ([0-9A-F]+/[0-9A-F]+)")

SLOTS = "SELECT slot_name, confirmed_flush_lsn::text, restart_lsn::text FROM pg_replication_slots ORDER BY 1"


@pytest.fixture
def restored(engine: str) -> Iterator[World]:
    with running(engine) as world:
        world.ready("restored")
        yield world


def position(text: str) -> int:
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def written(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def unchanged(world: World) -> tuple[Any, ...]:
    """What a refused command must leave as it is: the source's slots, the copy's subscriptions and origins."""
    with world.connect("orders") as source, world.connect("orders", "target") as copy:
        return (
            source.execute(SLOTS).fetchall(),
            copy.execute("SELECT count(*) FROM pg_subscription").fetchall(),
            copy.execute("SELECT count(*) FROM pg_replication_origin").fetchall(),
        )


def connectable(world: World) -> list[Any]:
    """Who may connect to the copy: what isolating it changes first."""
    with world.connect("orders", "target") as copy:
        return copy.execute("SELECT datname, datacl::text, datconnlimit FROM pg_database ORDER BY 1").fetchall()


def test_by_hand_it_is_refused_outside_of_the_bracket_and_taken_inside(restored: World) -> None:
    world = restored
    untouched = unchanged(world), connectable(world)
    refused = world.controller("replicate", "--lsn", "zzz")
    assert refused.status == 2, refused.told
    assert "'zzz' is not an LSN" in refused.document["error"]["message"]
    assert (unchanged(world), connectable(world)) == untouched, "arguments are validated before anything is touched"
    writer = Writer(world, "orders", 1)
    writer.start()
    before = unchanged(world)
    refused = world.controller("replicate", "--lsn", "0/0")
    assert refused.status == 4, refused.told
    found = EXACT.search(refused.document["error"]["message"])
    assert found is not None, refused.told
    last, first = map(position, found.groups())

    with world.connect("orders") as db:
        [(now, confirmed)] = db.execute(
            "SELECT pg_current_wal_lsn()::text, (SELECT min(confirmed_flush_lsn)::text FROM pg_replication_slots)"
        ).fetchall()
    for wrong in (written(last), written(first + 1), now, confirmed):
        refused = world.controller("replicate", f"--lsn={wrong}")
        assert refused.status == 4, (wrong, refused.told)
        assert EXACT.search(refused.document["error"]["message"]), (wrong, refused.told)
        assert unchanged(world) == before, wrong

    joined = world.controller("replicate", f"--lsn={written(last + 1)}")
    assert joined.status == 0, joined.told
    assert joined.document["lsn"]["value"] == written(last + 1)
    assert joined.document["lsn"]["candidates"][0]["source"] == "--lsn"
    assert len(joined.document["lsn"]["candidates"]) > 1, "the others are listed as well"

    # Joined is joined: another one is refused.
    assert world.controller("replicate", f"--lsn={written(last)}").status == 4
    shown = world.controller("status").document
    assert shown["lsn"] == joined.document["lsn"]
    assert shown["lsn"]["proof"]["by"] == "commit timestamps"
    report = world.directory / "report.html"
    assert world.controller("report", "--output", str(report)).status == 0
    page = report.read_text()
    for part in (written(last + 1), written(last), written(first), "--lsn", "server log: invalid record"):
        assert part in page

    writer.stop()
    assert world.controller("verify").status == 0
    assert ledger(world, "orders", "target") == ledger(world, "orders", "source")
