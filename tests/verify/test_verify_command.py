"""The command: what it asks first, which way it compares, what it remembers, and how it ends."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from encryptdb.controller.commands import verify
from encryptdb.controller.commands.verify import VerifyFailed, VerifyIncomplete
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import control
from encryptdb.controller.records import Open
from encryptdb.controller.verify import database
from encryptdb.stacks.contract.errors import Failed, NotYet, Status
from tests.kit import servers
from tests.record_samples import SAMPLES
from tests.verify.pair import APP, NAMES, Pair, Writers, follow, following


@contextmanager
def migration(pair: Pair) -> Iterator[Migration]:
    with closing(pair.migration()) as m:
        yield m


def test_equal_sides_are_recorded_for_the_report(pair: Pair) -> None:
    with migration(pair) as m:
        document = verify.run(m)
        records, journal = control.records(m.source), control.journal(m.source)
    assert document["equal"] is True
    assert document["publisher"] == "source"
    assert set(document["tables"][0]) >= {"database", "table", "rows", "digest", "equal"}
    assert set(document["point"]) == {APP}
    assert document["writers_waited_ms"] > 0
    assert records is not None and records.verify is not None
    assert records.verify.equal is True
    assert records.verify.tables == len(document["tables"])
    assert records.verify.rows == sum(t["rows"] for t in document["tables"])
    assert journal[-1][2] == "verify"


def test_a_difference_ends_with_status_1_and_the_document(pair: Pair) -> None:
    pair.target.sql("DELETE FROM event_2023 WHERE id = 1", database=APP)
    with migration(pair) as m, pytest.raises(VerifyFailed) as failed:
        verify.run(m)
    pair.target.sql("INSERT INTO event VALUES (1, '2023-06-02')", database=APP)
    assert failed.value.status == Status.FAILED
    assert "app: public.event_2023" in (failed.value.detail or "")
    (found,) = [t for t in failed.value.document["tables"] if not t["equal"]]
    assert found["differing_rows"] == [{"kind": "only on source", "key": {"id": "1", "at": "2023-06-02"}}]
    assert found["rows"] == found["target"]["rows"] + 1


def test_what_is_too_busy_ends_with_status_3_and_the_document(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.5)
    with pair.source.connect(APP) as long, long.transaction(), migration(pair) as m:
        long.execute("INSERT INTO event VALUES (200000, '2024-02-02')")
        with pytest.raises(VerifyIncomplete) as incomplete:
            verify.run(m)
    assert incomplete.value.status == Status.NOT_YET
    assert incomplete.value.document["equal"] is False
    assert [t["table"] for t in incomplete.value.document["tables"] if t["equal"] is None] == ["public.event_2024"]


def test_without_replication_there_is_nothing_to_compare(pair: Pair) -> None:
    name = NAMES.slot(pair.oid)
    pair.target.sql(f"ALTER SUBSCRIPTION {name} DISABLE", database=APP)
    with migration(pair) as m, pytest.raises(NotYet, match="does not follow the source yet"):
        verify.run(m)
    pair.target.sql(f"ALTER SUBSCRIPTION {name} ENABLE", database=APP)


def test_apply_that_has_stopped_is_told_and_nothing_is_held_back(pair: Pair) -> None:
    pair.target.sql("ALTER TABLE entry ADD CONSTRAINT refuses CHECK (amount <> 13)", database=APP)
    pair.source.sql("INSERT INTO entry (account, amount) VALUES (1, 13)", database=APP)
    with migration(pair) as m, pytest.raises(Failed, match="is not applying changes") as stopped:
        verify.run(m)
    assert "lost its worker" in stopped.value.detail
    pair.target.sql("ALTER TABLE entry DROP CONSTRAINT refuses", database=APP)
    with migration(pair) as m:
        assert verify.run(m)["equal"] is True


def test_after_open_the_sides_are_exchanged_and_sequences_are_compared(template: servers.Server, room: Path) -> None:
    with following(template, room) as pair, migration(pair) as m:
        assert verify.run(m)["equal"] is True
        turn_around(pair)
        control.write(m.the_target, Open(1, datetime.now(UTC), "target", True, {}, {}))
        control.write(m.the_target, SAMPLES["cutover"])
        with Writers(pair.target) as writers:
            document = {}
            with pytest.raises(VerifyFailed) as failed:
                verify.run(m)
            document = failed.value.document
        assert writers.broken == []
        assert document["publisher"] == "target"
        assert {t["equal"] for t in document["tables"]} == {True}
        assert [s["sequence"] for s in document["sequences"] if not s["equal"]] == ["public.ticket"]
        pair.target.sql("SELECT setval('ticket', 7)", database=APP)
        assert verify.run(m)["equal"] is True
        records = control.records(m.the_target)
        assert records is not None and records.verify is not None


def turn_around(pair: Pair) -> None:
    """What a cutover does to replication, without its care: nobody writes here. A sequence is forgotten."""
    name = NAMES.slot(pair.oid)
    pair.source.sql("SELECT setval('ticket', 7)", database=APP)
    pair.target.sql(f"DROP SUBSCRIPTION {name}", database=APP)
    (last,) = pair.source.sql("SELECT last_value FROM entry_id_seq", database=APP)[0]
    pair.target.sql(f"SELECT setval('entry_id_seq', {last} + 1000)", database=APP)
    pair.target.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"{name}_back"], database=APP)
    follow(pair.source, pair.target, f"{name}_back")
