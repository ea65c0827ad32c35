"""Random cuts of one run of the mixed load, each to the end: LSN found, joined, caught up, every row compared.

By default a seeded sample on one version, with the marker `full` on PostgreSQL 13 to 18. `make test-lsn` raises
ENCRYPTDB_RUNS (runs of the load on each version) and ENCRYPTDB_CUTS (places of each run); ENCRYPTDB_SEED chooses.
"""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import find_exact_lsn, slot_stream
from encryptdb.controller.postgres.lsn import LSN
from tests.kit import versions
from tests.postgres.mixed_load import MixedLoad
from tests.postgres.rig import digests, join, leave
from tests.postgres.wal_cuts import PAGE_BYTES, SEGMENT_BYTES, Quarry, Rest, Sent, quarry, xids

RUNS = int(os.environ.get("ENCRYPTDB_RUNS", "1"))
CUTS = int(os.environ.get("ENCRYPTDB_CUTS", "3"))
SEED = int(os.environ.get("ENCRYPTDB_SEED", "20240427"))


@dataclass(frozen=True)
class Cut:
    """Where, what stands behind it, and how the place was chosen."""

    at: LSN
    rest: Rest
    how: str


@dataclass
class Run:
    """One run of the load, everything its slot sends, and where it is cut."""

    rock: Quarry
    sent: Sent
    cuts: list[Cut]


PLACES = [
    pytest.param((major, number), marks=() if major == versions.DEFAULT else pytest.mark.full, id=f"{major}-{number}")
    for major, number in itertools.product(versions.MAJORS, range(RUNS))
]


@pytest.fixture(scope="module", params=PLACES)
def run(request: pytest.FixtureRequest, room: Path) -> Iterator[Run]:
    major, number = request.param
    with quarry(versions.programs(major, room), room, f"random-{major}-{number}", MixedLoad, CUTS) as rock:
        [(version,)] = rock.source.sql("SELECT current_setting('server_version_num')::int / 10000")
        assert version == major
        sent = rock.sent()
        yield Run(rock, sent, choose(rock, sent, random.Random(SEED + 100 * major + number)))


def choose(rock: Quarry, sent: Sent, chance: random.Random) -> list[Cut]:
    """Places of every kind, mostly where recovery ends in an unusual way."""
    inside = [c for c in sent.commits if rock.low < c.lsn and c.end < rock.high]
    chosen = []
    for _ in range(CUTS):
        rest: Rest = chance.choice(("zeros", "recycled"))
        kind = chance.choices(("anywhere", "in a commit record", "behind a commit", "page", "segment"), (6, 4, 2, 3, 1))
        match kind[0]:
            case "in a commit record":
                commit = chance.choice(inside)
                at = LSN(chance.randrange(commit.lsn.bytes + 1, commit.end.bytes))
            case "behind a commit":
                at = chance.choice(inside).end
            case "page":
                at = LSN(chance.randrange(rock.low.bytes // PAGE_BYTES + 1, rock.high.bytes // PAGE_BYTES) * PAGE_BYTES)
            case "segment":
                first = rock.low.bytes // SEGMENT_BYTES + 1
                at = LSN(chance.randrange(first, rock.high.bytes // SEGMENT_BYTES + 1) * SEGMENT_BYTES)
                rest = chance.choice(("zeros", "missing"))
            case _:
                at = LSN(chance.randrange(rock.low.bytes, rock.high.bytes))
        chosen.append(Cut(at, rest, kind[0]))
    return chosen


@pytest.mark.parametrize("number", range(CUTS))
def test_replication_from_a_random_cut_ends_in_equal_tables(
    run: Run, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number % 2:
        # As with a long backlog: what lies before the join is skipped by a temporary copy of the slot.
        monkeypatch.setattr(slot_stream, "SKIP_BYTES", 0)
    cut = run.cuts[number]
    with run.rock.cut(cut.at, cut.rest) as pair:
        try:
            with pair.migration() as (m, state):
                exact = find_exact_lsn(m, state)
            here = xids(pair.copy)
            skipped = {t.xid for t in run.sent.begins if t.lsn < exact.value}
            assert skipped & run.sent.writing == here & {t.xid for t in run.sent.begins}, f"{cut}: not at {exact.value}"
            join(pair, str(exact.value), on_copies=True)
            source, copy = digests(pair.source), digests(pair.copy)
            assert {name for name in source if source[name] != copy.get(name)} == set(), f"{cut}: tables differ"
            twice = "SELECT count(*) FROM (SELECT FROM bag GROUP BY who, n HAVING count(*) > 1) AS r"
            assert pair.copy.sql(twice, database="app") == [(0,)], f"{cut}: a row came twice"
        finally:
            pair.copy.stop("immediate")
            leave(pair)
