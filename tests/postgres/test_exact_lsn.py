"""The exact LSN on real servers: found, proved, and true to the last row after replication from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.exact_lsn.proof import find_bracket
from encryptdb.controller.exact_lsn.slot_stream import Begin, Keepalive, stream
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import as_json, from_json
from encryptdb.controller.records import ExactLSN
from encryptdb.stacks.contract.errors import Failed, Refused
from encryptdb.stacks.contract.outputs import Engine
from tests.kit.servers import Server
from tests.postgres.log_api import LogApi
from tests.postgres.rig import DATABASES, Load, Pair, catch_up, contents, isolate, join, live_on, prepare


@dataclass
class Frozen:
    """A busy source whose copy has started, and what was found on it before anything else happened to it."""

    pair: Pair
    found: ExactLSN
    load: Load


def find(pair: Pair, lsn: LSN | None = None) -> ExactLSN:
    with pair.migration(lsn) as (m, state):
        return find_exact_lsn(m, state)


@pytest.fixture(scope="module")
def frozen(blank: Server, room: Path) -> Iterator[Frozen]:
    """A source under load, frozen while one transaction is open and one is prepared; both commit after the snapshot."""
    source = blank.copy_of_files(room / f"{blank.data.name}-source").start()
    copy, load = None, None
    try:
        prepare(source)
        load = Load(source)
        with source.connect("app") as straddler:
            with straddler.transaction():
                straddler.execute("INSERT INTO ledger (who, note) VALUES (77, 'open')")
                with source.connect("app") as preparer:
                    preparer.execute("BEGIN")
                    preparer.execute("INSERT INTO ledger (who, note) VALUES (78, 'prepared')")
                    preparer.execute("PREPARE TRANSACTION 'p'")
                copy = source.freeze_copy(room / f"{blank.data.name}-copy")
            source.sql("COMMIT PREPARED 'p'", database="app")
        copy.start()
        copy.sql("ROLLBACK PREPARED 'p'", database="app")
        isolate(copy)
        pair = Pair(source, copy, LogApi(copy))
        yield Frozen(pair, find(pair), load)
    finally:
        if load is not None:
            load.stop()
        source.stop("immediate")
        if copy is not None:
            copy.stop("immediate")


def test_it_is_the_end_of_recovery_by_the_log_and_lies_in_the_bracket(frozen: Frozen) -> None:
    found = frozen.found
    assert str(found.value) == frozen.pair.copy.recovery_end()
    assert found.proof.last_included < found.value <= found.proof.first_missing
    assert set(found.proof.databases) == set(DATABASES)
    assert found.proof.by == "commit timestamps"


def test_every_candidate_of_a_fresh_copy_agrees(frozen: Frozen) -> None:
    named = {c.source: c.lsn for c in frozen.found.candidates}
    assert {"server log: invalid record length", "server log: redo done, plus one byte", "pg_last_wal_replay_lsn()",
            "pg_control_checkpoint().redo_lsn"} <= set(named)  # fmt: skip
    proof = frozen.found.proof
    assert all(proof.last_included < lsn <= proof.first_missing for lsn in named.values()), named
    assert not frozen.found.remarks


# AWS's own functions, which PostgreSQL has not: made here, and asked only on the engine that has them.

SEEDS = {
    "rds_tools.logical_seed_lsn()": "postgres",
    "aurora_volume_logical_start_lsn()": "aurora-postgresql",
}


@contextmanager
def seed(copy: Server, function: str, body: str) -> Iterator[None]:
    copy.sql("CREATE SCHEMA rds_tools")
    copy.sql("GRANT USAGE ON SCHEMA rds_tools TO master")
    copy.sql(f"CREATE FUNCTION {function} RETURNS pg_lsn LANGUAGE plpgsql AS $$ BEGIN {body}; END $$")
    try:
        yield
    finally:
        copy.sql(f"DROP FUNCTION {function}")
        copy.sql("DROP SCHEMA rds_tools")


@pytest.mark.parametrize("engine", SEEDS.values())
@pytest.mark.parametrize("function", SEEDS)
def test_the_function_of_aws_is_a_candidate_on_the_engine_that_has_it(
    frozen: Frozen, function: str, engine: Engine
) -> None:
    pair, end = replace(frozen.pair, engine=engine), frozen.found.value
    with seed(pair.copy, function, f"RETURN '{end}'"):
        found = find(pair)
    named = {c.source: c.lsn for c in found.candidates}
    assert named.get(function.removesuffix("()")) == (end if SEEDS[function] == engine else None)
    assert found.value == end


@pytest.mark.parametrize(("function", "engine"), SEEDS.items())
def test_where_the_function_of_aws_is_wrong_the_proof_decides_and_says_so(
    frozen: Frozen, function: str, engine: Engine
) -> None:
    pair, proof = replace(frozen.pair, engine=engine), frozen.found.proof
    for wrong, would in ((proof.last_included, "a second time"), (proof.first_missing + 1, "would lose")):
        with seed(pair.copy, function, f"RETURN '{wrong}'"):
            found = find(pair)
        assert found.value == frozen.found.value
        assert any(function.removesuffix("()") in remark and would in remark for remark in found.remarks)


@pytest.mark.parametrize(("function", "engine"), SEEDS.items())
@pytest.mark.parametrize("body", ["RETURN NULL", "RAISE EXCEPTION 'not on this volume'"])
def test_a_function_of_aws_that_returns_no_lsn_is_unavailable(
    frozen: Frozen, function: str, engine: Engine, body: str
) -> None:
    pair = replace(frozen.pair, engine=engine, said=[])
    with seed(pair.copy, function, body):
        assert find(pair).value == frozen.found.value
    assert any(f"unavailable: {function.removesuffix('()')}: " in line for line in pair.said)


@pytest.mark.parametrize("where", ["files", "group"])
def test_of_a_cluster_the_writers_log_is_read(frozen: Frozen, where: str) -> None:
    log = LogApi(frozen.pair.copy, files_there=where == "files", group_there=where == "group")
    found = find(replace(frozen.pair, engine="aurora-postgresql", log=log))
    named = {c.source: c.lsn for c in found.candidates if c.source.startswith("server log")}
    assert named["server log: invalid record length"] == frozen.found.value
    assert all(found.proof.last_included < lsn <= found.proof.first_missing for lsn in named.values())


def test_redo_done_as_it_stands_is_the_last_included_commit_or_before_the_end(frozen: Frozen) -> None:
    [redo] = [c.lsn for c in frozen.found.candidates if "redo done" in c.source]
    assert redo.back(1) < frozen.found.value, "the candidate adds the byte that makes it exact"


def test_the_evidence_survives_its_own_json(frozen: Frozen) -> None:
    document = as_json(frozen.found)
    assert from_json(document, ExactLSN) == frozen.found
    assert document["value"] == str(frozen.found.value)
    assert {"last_included", "first_missing", "transactions", "by"} <= set(document["proof"])


def test_reading_the_slots_moves_nothing_and_spills_nothing(frozen: Frozen) -> None:
    spilled = "SELECT sum(temp_bytes) FROM pg_stat_database"
    before, temp = frozen.pair.slots(), frozen.pair.source.sql(spilled)
    find(frozen.pair)
    assert frozen.pair.slots() == before
    assert frozen.pair.source.sql(spilled) == temp


def test_from_the_slot_alone_the_bracket_is_the_same(frozen: Frozen) -> None:
    pair = frozen.pair
    with pair.migration() as (m, state):
        for database in state.migrated:
            confirmed = state.source.slots[m.names.slot(database.oid)].confirmed_flush_lsn  # type: ignore[union-attr]
            assert confirmed is not None
            alone = find_bracket(m, database, confirmed, [])
            near = frozen.found.proof.databases[database.name]
            assert (alone.last_included, alone.first_missing) == (near.last_included, near.first_missing)


@pytest.mark.parametrize(
    "wrong",
    [
        "last included",
        "past first missing",
        "confirmed_flush",
        "source's current",
        "target's current",
        "0/0",
    ],
)
def test_a_wrong_lsn_by_hand_is_refused_with_the_bracket_and_changes_nothing(frozen: Frozen, wrong: str) -> None:
    pair, proof = frozen.pair, frozen.found.proof
    typed = {
        "last included": str(proof.last_included),
        "past first missing": str(proof.first_missing + 1),
        "confirmed_flush": pair.source.sql("SELECT max(confirmed_flush_lsn)::text FROM pg_replication_slots")[0][0],
        "source's current": pair.source.sql("SELECT pg_current_wal_lsn()::text")[0][0],
        # It moves with whatever the copy does by itself.
        "target's current": pair.copy.sql("SELECT pg_logical_emit_message(false, 'own', repeat('x', 1000000))::text")[
            0
        ][0],
        "0/0": "0/0",
    }[wrong]
    before = pair.slots()
    with pytest.raises(Refused) as refused:
        find(pair, LSN.parse(typed))
    assert str(proof.last_included) in refused.value.message
    assert str(proof.first_missing) in refused.value.message
    assert pair.slots() == before
    assert pair.copy.sql("SELECT count(*) FROM pg_subscription") == [(0,)]


def test_any_given_lsn_in_the_bracket_is_accepted_and_listed_with_the_others(frozen: Frozen) -> None:
    found = find(frozen.pair, frozen.found.proof.last_included + 1)
    assert found.value == frozen.found.proof.last_included + 1
    assert found.candidates[0].source == "--lsn"
    assert "server log: invalid record length" in {c.source for c in found.candidates}


def test_a_slot_that_another_reads_is_waited_for_and_then_given_up(frozen: Frozen) -> None:
    with frozen.pair.migration() as (m, state):
        database = next(d for d in state.migrated if d.name == "app")
        slot = m.names.slot(database.oid)
        held = {"clock": Hurried(), "reporter": m.reporter}
        publication = m.names.publication
        with (
            stream(m.source, "app", slot, publication, LSN(0), clock=m.clock, reporter=m.reporter),
            pytest.raises(Failed, match="to become inactive") as failed,
            stream(m.source, "app", slot, publication, LSN(0), **held),  # type: ignore[arg-type]
        ):
            pass
    assert "active for PID" in str(failed.value.detail)


def test_a_copy_that_lived_on_without_its_log_is_still_joined_exactly(frozen: Frozen) -> None:
    """Transactions of its own, vacuum, checkpoint, clean restart, crash; then the proof alone, under load."""
    pair, proof = frozen.pair, frozen.found.proof
    live_on(pair.copy)
    lies = [
        xid for xid in missing_xids(pair, proof.last_included) if pair.copy.sql(XID_STATUS, [xid]) == [("committed",)]
    ]
    assert lies, "the copy has not given a missing transaction's xid to one of its own, so this would prove nothing"
    pair.log.files_there = False
    try:
        found = find(pair)
    finally:
        pair.log.files_there = True
    assert (found.proof.last_included, found.proof.first_missing) == (proof.last_included, proof.first_missing)
    assert proof.last_included < found.value <= proof.first_missing
    assert "No candidate lies in the bracket" in found.remarks[0]


def test_the_log_of_a_later_restart_does_not_count(frozen: Frozen) -> None:
    assert frozen.pair.copy.log_text().count("invalid record length") > 1, "the copy crashed after its first recovery"
    found = find(frozen.pair)
    assert found.value == frozen.found.value


def test_what_the_files_no_longer_have_is_read_from_cloudwatch(frozen: Frozen) -> None:
    log = LogApi(frozen.pair.copy, files_there=False, group_there=True)
    found = find(Pair(frozen.pair.source, frozen.pair.copy, log))
    assert found.value == frozen.found.value
    assert any("/aws/rds/instance/orders-encrypted/postgresql" in c.detail for c in found.candidates)


def test_replication_from_it_ends_in_equal_tables(frozen: Frozen) -> None:
    """Last in this module, because the copy follows the source from here on."""
    pair = frozen.pair
    join(pair, str(frozen.found.value))
    frozen.load.stop()
    catch_up(pair)
    source, copy = contents(pair.source), contents(pair.copy)
    assert {name for name in source if source[name] != copy[name]} == set()
    notes = {note for (note,) in pair.copy.sql("SELECT note FROM ledger WHERE who IN (77, 78)", database="app")}
    assert notes == {"open", "prepared"}
    assert len(source["app.bag"]) > 100, "the load wrote too little to tell anything"


OWN_WAL_SQL = "SELECT pg_logical_emit_message(false, 'own', repeat('x', 1000000))::text"

XID_STATUS = "SELECT pg_xact_status(%s::text::xid8)"


def missing_xids(pair: Pair, after: LSN) -> list[int]:
    """The xids of the first transactions that committed after `after`, as far as they are there now, off app's slot."""
    found: list[int] = []
    until = LSN.parse(pair.source.sql("SELECT pg_current_wal_flush_lsn()::text")[0][0])
    with pair.migration() as (m, state):
        slot = next(m.names.slot(d.oid) for d in state.migrated if d.name == "app")
        with stream(
            m.source, "app", slot, m.names.publication, after + 1, clock=m.clock, reporter=m.reporter
        ) as messages:
            for message in messages:
                if isinstance(message, Begin):
                    found.append(message.xid)
                if len(found) >= 20 or (isinstance(message, Keepalive) and message.sent >= until):
                    break
    return found


class Hurried:
    """A clock on which every sleep takes no time at all and yet has passed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
