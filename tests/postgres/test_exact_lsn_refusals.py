"""What the proof does at its edges: an idle source, a copy that is not ours, commit timestamps that are gone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import find_exact_lsn, refuse_unprovable
from encryptdb.controller.exact_lsn.proof import find_bracket, flushed
from encryptdb.controller.exact_lsn.slot_stream import Begin, stream
from encryptdb.controller.postgres import heartbeat
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.stacks.contract.errors import Failed, Refused
from tests.kit.servers import Server
from tests.postgres.log_api import LogApi
from tests.postgres.rig import DATABASES, Pair, heartbeats, isolate, live_on, prepare


@pytest.fixture(scope="module")
def quiet(blank: Server, room: Path) -> Iterator[tuple[Server, Server]]:
    """A source on which nothing happened since prepare, and its copy, both running."""
    source = blank.copy_of_files(room / f"{blank.data.name}-quiet").start()
    copy = None
    try:
        prepare(source)
        replicated_commit(source)
        copy = source.freeze_copy(room / f"{blank.data.name}-quiet-copy").start()
        isolate(copy)
        yield source, copy
    finally:
        source.stop("immediate")
        if copy is not None:
            copy.stop("immediate")


def replicated_commit(source: Server) -> None:
    """A transaction that reached the source by replication: its commit time is its origin's, of another day."""
    with source.connect("app") as db:
        db.execute("SELECT pg_replication_origin_create('upstream')")
        db.execute("SELECT pg_replication_origin_session_setup('upstream')")
        with db.transaction():
            db.execute("SELECT pg_replication_origin_xact_setup('0/1', '2001-02-03 04:05:06.789012+00')")
            db.execute("INSERT INTO ledger (who, note) VALUES (1, 'from upstream')")


def test_a_transaction_that_was_replicated_to_the_source_is_told_by_its_origins_time(
    quiet: tuple[Server, Server],
) -> None:
    source, copy = quiet
    [(xid,)] = copy.sql("SELECT xid FROM ledger WHERE note = 'from upstream'", database="app")
    told = copy.sql("SELECT pg_xact_commit_timestamp(%s::text::xid) = '2001-02-03 04:05:06.789012+00'", [xid])
    assert told == [(True,)], "the copy keeps the origin's time, as the slot gives it"
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        assert find_exact_lsn(m, state).proof.databases["app"].included == 2


def test_an_idle_source_gets_a_heartbeat_and_is_proved_by_it(quiet: tuple[Server, Server]) -> None:
    source, copy = quiet
    beats = [source.sql("SELECT n FROM encryptdb.heartbeat", database=name) for name in DATABASES]
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        found = find_exact_lsn(m, state)
    assert str(found.value) == copy.recovery_end()
    after = [source.sql("SELECT n FROM encryptdb.heartbeat", database=name) for name in DATABASES]
    assert after == [[(n + 1,)] for [(n,)] in beats], "one heartbeat in each database, and no more"


def test_the_heartbeat_of_prepare_is_what_binds_the_copy_to_this_migration(quiet: tuple[Server, Server]) -> None:
    """A copy whose commit of that xid has another time is another snapshot's, whatever else it says."""
    source, copy = quiet
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        told = heartbeats(state)
        told["app"] = replace(told["app"], at=told["app"].at - timedelta(days=365))
        with pytest.raises(Refused, match="prepare's heartbeat in database app") as refused:
            find_exact_lsn(m, state)
    assert "where that xid committed at" in refused.value.message
    assert "Neither server was changed" in str(refused.value.detail)


def test_a_snapshot_from_before_prepare_is_refused(quiet: tuple[Server, Server]) -> None:
    """The heartbeat that prepare commits last is not on it: here, a second one that the copy was never told."""
    source, copy = quiet
    [(xid,)] = source.sql(
        "UPDATE encryptdb.heartbeat SET n = n + 1 RETURNING pg_current_xact_id()::text::bigint", database="app"
    )
    [(at,)] = source.sql("SELECT pg_xact_commit_timestamp(%s::text::xid)", [xid])
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        told = heartbeats(state)
        told["app"] = replace(told["app"], xid=xid, at=at)
        with pytest.raises(Refused, match="no commit timestamp for prepare's heartbeat in database app"):
            find_exact_lsn(m, state)


def test_a_candidate_far_past_the_end_only_costs_a_second_reading(quiet: tuple[Server, Server]) -> None:
    """Reading begins behind the join then, finds nothing included, and goes back as far as it takes."""
    source, copy = quiet
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        assert state.source is not None
        database = next(d for d in state.migrated if d.name == "app")
        confirmed = state.source.slots[m.names.slot(database.oid)].confirmed_flush_lsn
        assert confirmed is not None
        expected = find_bracket(m, database, confirmed, [])
        source.sql("INSERT INTO ledger (who, note) SELECT 1, repeat('z', 900) FROM generate_series(1, 3000)",
                   database="app")  # fmt: skip
        found = find_bracket(m, database, confirmed, [flushed(m.source)])
    assert (found.last_included, found.first_missing) == (expected.last_included, expected.first_missing)


@pytest.mark.parametrize("slots_to_spare", [True, False])
def test_much_wal_before_the_join_is_skipped_by_a_temporary_slot_where_one_is_to_spare(
    quiet: tuple[Server, Server], slots_to_spare: bool
) -> None:
    """With the same result, and gone when the reading ends."""
    source, copy = quiet
    pair = Pair(source, copy, LogApi(copy))
    with pair.migration() as (m, state):
        source.sql("SELECT pg_logical_emit_message(false, 'far', repeat('x', 20000000))")
        near = flushed(m.source)
        database = next(d for d in state.migrated if d.name == "app")
        slot, beats = m.names.slot(database.oid), [heartbeat.beat(m.source, "app").xid for _ in range(2)]
        if not slots_to_spare:
            source.sql("SELECT pg_create_physical_replication_slot('p' || n) FROM generate_series(1, 8) AS n")
        before, seen = pair.slots(), []
        try:
            with stream(
                m.source, "app", slot, m.names.publication, near, clock=m.clock, reporter=m.reporter
            ) as messages:
                while len(seen) < 2:
                    message = next(messages)
                    seen += [message.xid] if isinstance(message, Begin) else []
                temporary = source.sql("SELECT count(*) FROM pg_replication_slots WHERE temporary")
            assert seen == beats
            assert temporary == [(1 if slots_to_spare else 0,)]
            assert pair.slots() == before
        finally:
            source.sql(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^p[0-9]'"
            )


def test_a_role_that_may_not_stream_is_told_what_it_needs(quiet: tuple[Server, Server]) -> None:
    source, copy = quiet
    source.sql("ALTER ROLE master NOREPLICATION")
    try:
        with Pair(source, copy, LogApi(copy)).migration() as (m, state), pytest.raises(Failed) as failed:
            find_exact_lsn(m, state)
    finally:
        source.sql("ALTER ROLE master REPLICATION")
    assert "may not read the slot" in failed.value.message
    assert "GRANT rds_replication TO master" in str(failed.value.hint)


def test_with_an_idle_source_a_copy_that_lived_on_is_joined_exactly_with_its_log_and_without(
    quiet: tuple[Server, Server],
) -> None:
    """Last in this module, which wants a fresh copy before."""
    source, copy = quiet
    end = copy.recovery_end()
    live_on(copy)
    with Pair(source, copy, LogApi(copy)).migration() as (m, state):
        assert str(find_exact_lsn(m, state).value) == end
    with Pair(source, copy, LogApi(copy, files_there=False)).migration() as (m, state):
        found = find_exact_lsn(m, state)
    assert found.proof.last_included < LSN.parse(str(end)) <= found.proof.first_missing
    assert found.proof.last_included < found.value <= found.proof.first_missing
    assert "No candidate lies in the bracket" in found.remarks[0]


def test_a_copy_that_was_started_once_without_commit_timestamps_is_refused_before_it_is_touched(
    blank: Server, room: Path
) -> None:
    """While they are off, and after they are on again. The source goes on serving."""
    source = blank.copy_of_files(room / f"{blank.data.name}-forgotten").start()
    copy = None
    try:
        prepare(source)
        copy = source.freeze_copy(room / f"{blank.data.name}-forgotten-copy")
        pair = Pair(source, copy, LogApi(copy, group="theirs"))
        for setting, reason in (("off", "runs with track_commit_timestamp = off"), ("on", "was started once with")):
            copy.start(track_commit_timestamp=setting)
            before = pair.slots()
            with pair.migration() as (m, state):
                with pytest.raises(Refused, match=f"cannot be proved: .*{reason}") as refused:
                    refuse_unprovable(m, state)
                with pytest.raises(Refused, match=f"cannot be proved: .*{reason}"):
                    find_exact_lsn(m, state)
            assert "The source goes on serving." in str(refused.value.detail)
            assert refused.value.hint == (
                "aws rds modify-db-parameter-group --db-parameter-group-name theirs --parameters "
                "ParameterName=track_commit_timestamp,ParameterValue=1,ApplyMethod=pending-reboot && "
                "encryptdb abandon --stack exact && pulumi config set encryptdb:attempt 2 --stack exact && "
                "pulumi config set encryptdb:phase prepare --stack exact && pulumi up --stack exact && "
                "encryptdb prepare --stack exact"
            )
            source.sql("INSERT INTO ledger (who, note) VALUES (1, 'still serving')", database="app")
            assert pair.slots() == before, "inherited slots included: nothing was isolated"
            copy.stop()
    finally:
        source.stop("immediate")
        if copy is not None:
            copy.stop("immediate")
