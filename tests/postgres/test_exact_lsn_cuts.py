"""WAL that ends anywhere: inside a commit record, across a page, at a segment's border. Told by the rows themselves."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.records import ExactLSN
from tests.postgres.rig import Pair
from tests.postgres.wal_cuts import PAGE_BYTES, SEGMENT_BYTES, Quarry, Rest, Sent, quarry, xids

SEED = 20240427


@pytest.fixture(scope="module")
def rock(bin_folder: Path, room: Path) -> Iterator[Quarry]:
    with quarry(bin_folder, room, f"quarry-{bin_folder.parent.name}") as found:
        yield found


@pytest.fixture(scope="module")
def sent(rock: Quarry) -> Sent:
    return rock.sent()


def check(pair: Pair, sent: Sent) -> ExactLSN:
    """Find the LSN, and assert that it parts exactly the transactions that the copy has from those it lacks."""
    with pair.migration() as (m, state):
        found = find_exact_lsn(m, state)
    here = xids(pair.copy)
    writing = [t for t in sent.begins if t.xid in sent.writing]
    assert {t.xid for t in writing if t.lsn < found.value} == here & {t.xid for t in writing}
    assert 0 < len(here) <= len(writing)
    return found


def torn(rock: Quarry) -> tuple[LSN, LSN]:
    """A commit record that crosses a page's border, right behind another commit: its start, and the border."""
    for start, length in rock.commits():
        border = LSN((start.bytes // PAGE_BYTES + 1) * PAGE_BYTES)
        # The first page of a segment has a longer header, and a segment of its own for a test of its own.
        if border < start + length and border.bytes % SEGMENT_BYTES and rock.previous(start)[1]:
            return start, border
    raise AssertionError("no commit record right behind another one was torn by a page's border")


@pytest.mark.parametrize("rest", ["zeros", "recycled"])
def test_a_commit_record_torn_across_a_page(rock: Quarry, sent: Sent, rest: Rest) -> None:
    """None of the three that tools go by is the end here: "redo done" would send a commit again, the page's address and
    the checkpoint's redo point would each skip one."""
    commit, border = torn(rock)
    with rock.cut(border, rest) as pair:
        found = check(pair, sent)
    proof = found.proof
    assert proof.last_included < found.value <= commit < border
    [checkpoint] = [c for c in found.candidates if c.source.startswith("pg_control_checkpoint")]
    [redo] = [c for c in found.candidates if "redo done" in c.source]
    as_it_stands = {"redo done": redo.lsn.back(1), "page": border, "pg_control_checkpoint": checkpoint.lsn}
    assert {name for name, lsn in as_it_stands.items() if proof.last_included < lsn <= proof.first_missing} == set()
    assert as_it_stands["redo done"] == proof.last_included, "the commit before the torn one, which is there"
    assert checkpoint.lsn > proof.first_missing and border > proof.first_missing
    assert proof.last_included < redo.lsn <= proof.first_missing, "with a byte more it is exact"
    assert any("would lose the commit" in remark for remark in found.remarks)


@pytest.mark.parametrize("rest", ["zeros", "recycled"])
def test_inside_a_commit_record(rock: Quarry, sent: Sent, rest: Rest) -> None:
    start, length = random.Random(SEED).choice(rock.commits())
    with rock.cut(start + length // 2, rest) as pair:
        found = check(pair, sent)
    assert found.value <= start


def test_right_behind_a_commit_record_redo_done_is_that_commit(rock: Quarry, sent: Sent) -> None:
    """So "redo done" as it stands would send it again; the byte more is what makes it exact."""
    start, length = next((s, n) for s, n in rock.commits() if s.bytes // PAGE_BYTES == (s.bytes + n) // PAGE_BYTES)
    with rock.cut(start + (length + 7) // 8 * 8) as pair:
        found = check(pair, sent)
    [redo] = [c for c in found.candidates if "redo done" in c.source]
    assert redo.lsn == start + 1


def test_where_the_next_segment_was_never_made(rock: Quarry, sent: Sent) -> None:
    border = LSN((rock.low.bytes // SEGMENT_BYTES + 1) * SEGMENT_BYTES)
    with rock.cut(border, "missing") as pair:
        assert check(pair, sent).value <= border


def test_anywhere(rock: Quarry, sent: Sent) -> None:
    at = random.Random(SEED).randrange(rock.low.bytes, rock.high.bytes)
    with rock.cut(LSN(at)) as pair:
        # Records begin at multiples of 8 bytes: one that ends just before the cut is whole, the next begins after it.
        assert check(pair, sent).value <= LSN((at + 7) // 8 * 8)
