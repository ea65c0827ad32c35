"""Where commit timestamps are lost: exact by the rows themselves, or refused, and never told by xids."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import ExactLSN, find_exact_lsn
from encryptdb.stacks.contract.errors import Refused
from tests.postgres.log_api import LogApi
from tests.postgres.rig import Load, Pair, catch_up, digests, heartbeats, isolate, join, prepare
from tests.postgres.servers import Server
from tests.postgres.test_exact_lsn import XID_STATUS, missing_xids

BAG_SQL = "INSERT INTO bag SELECT 50, n FROM generate_series(1, 3) AS n"


def find(pair: Pair) -> ExactLSN:
    with pair.migration() as (m, state):
        return find_exact_lsn(m, state)


@contextmanager
def a_pair(source: Server, copy_at: Path, *, load: bool) -> Iterator[tuple[Pair, Load | None]]:
    """A prepared source and its isolated copy, and the load that runs; ends with all of it stopped."""
    running, copy = None, None
    try:
        source.start()
        prepare(source)
        if load:
            running = Load(source)
        else:
            source.sql(BAG_SQL, database="app")
        copy = source.freeze_copy(copy_at)
        if not load:
            for _ in range(3):
                source.sql(BAG_SQL, database="app")
        copy.start()
        isolate(copy)
        yield Pair(source, copy, LogApi(copy)), running
    finally:
        if running is not None:
            running.stop()
        source.stop("immediate")
        if copy is not None:
            copy.stop("immediate")


def forget_commit_times(copy: Server) -> None:
    """Run it once without: what it then forgets is gone for good."""
    copy.stop()
    copy.start(track_commit_timestamp="off")
    copy.stop()
    copy.start(track_commit_timestamp="on")


def hand_out_xids(pair: Pair, proof_start: ExactLSN) -> None:
    """Let the copy give the xids of missing transactions to transactions of its own."""
    pair.copy.sql("CREATE TABLE own (n int)")
    for n in range(50):
        pair.copy.sql("INSERT INTO own VALUES (%s)", [n])
    xids = missing_xids(pair, proof_start.proof.last_included)
    lies = [x for x in xids if pair.copy.sql(XID_STATUS, [x]) == [("committed",)]]
    assert lies, "no missing transaction reads committed, so this would prove nothing"


@pytest.fixture(scope="module")
def busy(blank: Server, room: Path) -> Iterator[tuple[Pair, ExactLSN, Load]]:
    source = blank.copy_of_files(room / f"{blank.data.name}-rows")
    with a_pair(source, room / f"{blank.data.name}-rows-copy", load=True) as (pair, load):
        assert load is not None
        found = find(pair)
        hand_out_xids(pair, found)
        pair.copy.sql("VACUUM (FREEZE)", database="app")
        yield pair, found, load


def test_while_they_are_off_the_rows_give_the_same_bracket(busy: tuple[Pair, ExactLSN, Load]) -> None:
    pair, known, _ = busy
    pair.copy.stop()
    pair.copy.start(track_commit_timestamp="off")
    before = pair.slots()
    found = find(pair)
    assert found.proof.by == "row versions"
    assert (found.proof.last_included, found.proof.first_missing) == (
        known.proof.last_included,
        known.proof.first_missing,
    )
    assert found.value == known.value
    assert pair.slots() == before
    assert any("asking the rows" in line for line in pair.said)


def test_without_a_candidate_in_the_bracket_the_rows_alone_are_not_enough(busy: tuple[Pair, ExactLSN, Load]) -> None:
    """A job of the copy may have deleted a row that came with the snapshot; nothing would tell."""
    pair, known, _ = busy
    forget_commit_times(pair.copy)
    pair.copy.sql("CHECKPOINT")
    silent = Pair(pair.source, pair.copy, LogApi(pair.copy, files_there=False))
    with pytest.raises(Refused, match="no candidate names an LSN there") as refused:
        find(silent)
    assert str(known.proof.last_included) in refused.value.message


def test_replication_from_it_ends_in_equal_tables(busy: tuple[Pair, ExactLSN, Load]) -> None:
    """Last, because the copy follows the source from here on."""
    pair, _, load = busy
    found = find(pair)
    assert found.proof.by == "row versions", "they were lost, and stay lost when they are on again"
    join(pair, str(found.value))
    load.stop()
    catch_up(pair)
    assert digests(pair.source) == digests(pair.copy)


@pytest.fixture(scope="module")
def keyless(blank: Server, room: Path) -> Iterator[Pair]:
    """Around the end of the snapshot nothing was written but rows of a table without a key."""
    source = blank.copy_of_files(room / f"{blank.data.name}-keyless")
    with a_pair(source, room / f"{blank.data.name}-keyless-copy", load=False) as (pair, _):
        hand_out_xids(pair, find(pair))
        forget_commit_times(pair.copy)
        yield pair


def test_where_no_row_tells_it_is_refused_whatever_log_and_xids_say(keyless: Pair) -> None:
    with pytest.raises(Refused, match="equally well") as refused:
        find(keyless)
    assert "invalid record length" in str(refused.value.detail), "the log has it, and is not believed alone"
    assert "Nothing was changed" in str(refused.value.detail)


def test_a_copy_without_the_heartbeats_row_is_refused(keyless: Pair) -> None:
    with keyless.migration() as (m, state):
        told = heartbeats(state)
        told["app"] = replace(told["app"], xid=told["app"].xid + 1)
        with pytest.raises(Refused, match="is not on the copy either: it is of transaction"):
            find_exact_lsn(m, state)
