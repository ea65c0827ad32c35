"""pg_walinspect as a candidate: right after checkpoints and crashes too, and gone without a trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.exact_lsn.candidates import WALINSPECT, walinspect
from encryptdb.controller.exact_lsn.server_log import Found, Unavailable
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.server import Server as Side
from encryptdb.controller.record_values import Candidate
from encryptdb.controller.records import ExactLSN
from tests.kit.servers import Server
from tests.postgres.log_api import LogApi
from tests.postgres.rig import Pair, isolate, prepare

EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY 1"


@pytest.fixture(scope="module")
def pair(blank: Server, room: Path) -> Iterator[Pair]:
    source = blank.copy_of_files(room / f"{blank.data.name}-inspected").start()
    copy = None
    try:
        prepare(source)
        source.sql("INSERT INTO ledger (who, note) SELECT 1, 'there' FROM generate_series(1, 100)", database="app")
        copy = source.freeze_copy(room / f"{blank.data.name}-inspected-copy").start()
        source.sql("INSERT INTO ledger (who, note) VALUES (1, 'missing')", database="app")
        isolate(copy)
        yield Pair(source, copy, LogApi(copy))
    finally:
        source.stop("immediate")
        if copy is not None:
            copy.stop("immediate")


def asked(pair: Pair, since: LSN, user: str = "postgres") -> list[Found]:
    side = Side("target", "127.0.0.1", pair.copy.port, Login(user, Secret(""), "the test"))
    try:
        return walinspect(side, since, [])
    finally:
        side.close()


def confirmed(pair: Pair) -> LSN:
    return LSN.parse(pair.source.sql("SELECT min(confirmed_flush_lsn)::text FROM pg_replication_slots")[0][0])


def find(pair: Pair) -> ExactLSN:
    with pair.migration() as (m, state):
        return find_exact_lsn(m, state)


def test_it_still_names_the_end_after_checkpoints_and_a_crash_and_leaves_nothing(pair: Pair) -> None:
    proof = find(pair).proof
    pair.copy.sql("CREATE TABLE own (n int)")
    pair.copy.sql("CHECKPOINT")
    pair.copy.restart("immediate")
    before = pair.copy.sql(EXTENSIONS, database="encryptdb")
    first = asked(pair, confirmed(pair))[0]
    assert isinstance(first, Candidate), first
    assert proof.last_included < first.lsn <= proof.first_missing
    [checkpoint] = [c for c in find(pair).candidates if c.source.startswith("pg_control_checkpoint")]
    assert checkpoint.lsn > proof.first_missing, "by now the control file tells of the copy's own checkpoint"
    assert pair.copy.sql(EXTENSIONS, database="encryptdb") == before


def test_where_the_role_may_not_create_the_extension_it_is_unavailable_and_says_why(pair: Pair) -> None:
    [found] = asked(pair, confirmed(pair), user="master")
    assert found == Unavailable(WALINSPECT, "permission denied for role 'master' to create the extension")
    assert "CREATE EXTENSION" not in pair.copy.log_text(), "it was not tried either"


def test_where_the_extension_is_there_and_may_be_used_it_is_used(pair: Pair) -> None:
    pair.copy.sql("CREATE EXTENSION pg_walinspect", database="encryptdb")
    pair.copy.sql("GRANT pg_read_server_files TO master")
    try:
        found = find(pair)
    finally:
        pair.copy.sql("DROP EXTENSION pg_walinspect", database="encryptdb")
    named = [c for c in found.candidates if c.source.startswith(WALINSPECT)]
    assert found.proof.holds(named[0].lsn)


def test_without_that_wal_it_is_unavailable(pair: Pair) -> None:
    [found] = asked(pair, LSN(1 << 20))
    assert isinstance(found, Unavailable)
    assert found.source == WALINSPECT
