"""Cuts at random places of one run of the mixed load, each judged to the end: found, joined, caught up, equal.

Not a test module: `test_exact_lsn_random.py` takes a few cuts, `lsn_everywhere.py` hundreds.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.exact_lsn.messages import Begin, Commit, Keepalive
from encryptdb.controller.exact_lsn.slot_stream import stream
from encryptdb.controller.postgres.lsn import LSN
from tests.postgres.mixed_load import MixedLoad
from tests.postgres.rig import Pair, digests, join, leave
from tests.postgres.wal_cuts import SEGMENT_BYTES, Quarry, Rest, quarry

PAGE_BYTES = 8192


@dataclass
class Run:
    """A quarry of the mixed load, and every transaction that its busy database's slot delivers."""

    rock: Quarry
    sent: list[Begin]
    commits: list[Commit]
    everyone: set[int]
    """The xids of every transaction in the source's ledger."""


@dataclass(frozen=True)
class Cut:
    """Where, what stands behind it, and how the place was chosen."""

    at: LSN
    rest: Rest
    how: str


@contextmanager
def run(bin_folder: Path, room: Path, name: str, segments: int = 3) -> Iterator[Run]:
    """Let the load run on a fresh source, and read its slot once."""
    with quarry(bin_folder, room, name, MixedLoad, segments) as rock, rock.cut(rock.high) as pair:
        with pair.migration() as (m, state):
            slot = next(m.names.slot(d.oid) for d in state.migrated if d.name == "app")
            sent, commits = [], []
            with stream(
                m.source, "app", slot, m.names.publication, LSN(0), clock=m.clock, reporter=m.reporter
            ) as messages:
                for message in messages:
                    match message:
                        case Begin():
                            sent.append(message)
                        case Commit():
                            commits.append(message)
                        case Keepalive() if message.sent >= rock.high:
                            break
        yield Run(rock, sent, commits, xids(pair, "source"))


def cuts(found: Run, count: int, seed: int) -> list[Cut]:
    """Places of every kind, mostly where recovery ends in an unusual way."""
    chance = random.Random(seed)
    rock = found.rock
    inside = [c for c in found.commits if rock.low < c.lsn and c.end < rock.high]
    chosen = []
    for _ in range(count):
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


def judge(found: Run, cut: Cut) -> None:
    """Find the LSN of a copy that was cut there, replicate from it, and compare every row."""
    rock = found.rock
    with rock.cut(cut.at, cut.rest) as pair:
        try:
            with pair.migration() as (m, state):
                exact = find_exact_lsn(m, state)
            here = xids(pair, "copy")
            skipped = {t.xid for t in found.sent if t.lsn < exact.value}
            assert skipped & found.everyone == here & {t.xid for t in found.sent}, "it does not part what is there"
            join(pair, str(exact.value), on_copies=True)
            source, copy = digests(pair.source), digests(pair.copy)
            assert {name for name in source if source[name] != copy.get(name)} == set(), "tables differ"
            assert pair.copy.sql("SELECT count(*) FROM (SELECT FROM bag GROUP BY who, n HAVING count(*) > 1) r",
                                 database="app") == [(0,)], "a row came twice"  # fmt: skip
        finally:
            pair.copy.stop("immediate")
            leave(pair)


def xids(pair: Pair, of: str) -> set[int]:
    """The transactions whose row is there: every one of the load leaves its xid in the ledger."""
    server = pair.source if of == "source" else pair.copy
    return {xid for (xid,) in server.sql("SELECT DISTINCT xid FROM ledger", database="app")}
