"""The state is decided from what was observed, and never taken for a harmless one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from encryptdb.controller import permissions
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import Database, ObservedServer, Subscription
from encryptdb.controller.permissions import COMMANDS, TABLE, Verdict
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.slots import Slot
from encryptdb.controller.record_values import DatabaseName
from encryptdb.controller.records import (
    Abandoned,
    CaughtUp,
    Cutover,
    Databases,
    Identity,
    Moving,
    Open,
    Prepared,
    Records,
    Retired,
    Rollback,
)
from encryptdb.controller.state import Condition, Standing, State, decide
from encryptdb.stacks.contract.errors import Failed, NotYet, Refused
from encryptdb.stacks.contract.names import Ending
from encryptdb.stacks.contract.outputs import Outputs, Side

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = Names.of("orders")
SLOT = NAMES.slot(5)
SILENT = Failed("The server does not answer.")

IDENTITY = Identity("orders", 1, "db-SOURCE", NOW)
PREPARED = Records(
    identity=IDENTITY, databases=Databases((DatabaseName(5, "app"),)), prepared=Prepared("db-SOURCE", 1, {}, NOW)
)
CAUGHT_UP = replace(PREPARED, caught_up=CaughtUp({}))
MOVING = replace(CAUGHT_UP, moving=Moving("cutover", "me"))


def opened(records: Records, epoch: int, *, at: datetime = NOW, path: bool = True, done: bool = True) -> Records:
    given: dict[str, Any] = {}
    if done:
        given = {"rollback" if epoch % 2 == 0 else "cutover": result(epoch)}
    return replace(records, open=Open(epoch, at, "target" if epoch % 2 else "source", path, {}, {}), **given)


def result(epoch: int) -> Any:
    kind = Rollback if epoch % 2 == 0 else Cutover
    return kind(
        serving="target", epoch=epoch, opened_at=NOW, end_lsns={}, steps_ms={}, pause_ms=1.0, interrupted=False,
        rollback_path=True, stale_views=(),
    )  # fmt: skip


def server(records: Records | None, *, allow: bool = True, follows: str | None = None, worker: int | None = 7) -> Any:
    subscription = Subscription(follows or "", "app", True, follows, "pg_1", LSN(1), worker, None, None)
    slot = Slot(SLOT, "app", "pgoutput", True, 1, LSN(1), LSN(1), "reserved", None)
    return ObservedServer(
        settings={"server_version_num": "150000", "wal_level": "logical", "track_commit_timestamp": "on"},
        databases=(Database(5, "app", "app", allow, 1),),
        slots={SLOT: slot, NAMES.back_slot(5): replace(slot, name=NAMES.back_slot(5))},
        subscriptions={follows: subscription} if follows else {},
        records=records,
        current_lsn=LSN(1),
        replication_role=True,
        prepared_transactions=(),
    )


def outputs(target: bool = True, **changes: Any) -> Outputs:
    side = Side("orders-prod", "db-SOURCE", "127.0.0.1", 5432)
    made = Outputs(
        contract=1, stack="orders", phase="restore", attempt=1, engine="postgres", region="eu-west-1",
        account="1", source=side, target=Side("copy", "db-COPY", "127.0.0.2", 5432) if target else None,
        kms_key_arn="arn", snapshot_arn=None, source_parameter_group=None, target_parameter_group=None,
        switches=(), rollback_window="7d", auth="password",
    )  # fmt: skip
    return replace(made, **changes)


def standing(source: Any, target: Any = None, *, out: Outputs | None = None, **more: Any) -> Standing:
    given = {
        "source_problem": None if source is not None else SILENT,
        "target_problem": None if target is not None else SILENT,
    } | more
    at = given.pop("at", NOW)
    return decide(out or outputs(), NAMES, Observed(at=at, source=source, target=target, **given))


ALONE = outputs(target=False)
FORWARD = server(PREPARED, follows=SLOT)
BACK = NAMES.back_slot(5)


@pytest.mark.parametrize(
    ("found", "state", "serves"),
    [
        (standing(server(None), out=ALONE), "not-prepared", "source"),
        (standing(server(Records(identity=IDENTITY)), out=ALONE), "not-prepared", "source"),
        (standing(server(PREPARED), out=ALONE), "prepared", "source"),
        (standing(server(PREPARED), server(PREPARED)), "restored", "source"),
        (standing(server(PREPARED), FORWARD), "replicating", "source"),
        (standing(server(CAUGHT_UP), FORWARD), "caught-up", "source"),
        (standing(server(MOVING), FORWARD), "moving", "source"),
        (standing(server(CAUGHT_UP, follows=BACK), server(opened(CAUGHT_UP, 1))), "open", "target"),
        (standing(server(opened(CAUGHT_UP, 2)), server(opened(CAUGHT_UP, 1), follows=SLOT)), "rolled-back", "source"),
        (standing(server(None), server(None), ending=Ending.RETIRED), "retired", "target"),
        (standing(server(None), server(PREPARED), ending=Ending.ABANDONED), "abandoned", "source"),
        (standing(server(None), None, ending=Ending.ABANDONED), "abandoned", "source"),
        (standing(None, server(None), ending=Ending.RETIRED), "retired", "target"),
    ],
)
def test_the_state_and_who_serves(found: Standing, state: str, serves: str) -> None:
    assert (found.state, found.serves) == (state, serves)


@pytest.mark.parametrize(
    "found",
    [
        standing(None, out=ALONE),
        standing(None, None),
        standing(server(None), server(PREPARED)),
        standing(server(None), server(None)),
        standing(server(None), server(None), aws_problem=SILENT),
        standing(None, server(PREPARED)),
        standing(None, server(None)),
        standing(None, server(replace(opened(CAUGHT_UP, 1), moving=Moving("rollback", "me")))),
        standing(server(MOVING), None),
        standing(server(opened(CAUGHT_UP, 2)), None),
        standing(server(CAUGHT_UP, allow=False), None),
        standing(server(replace(PREPARED, identity=replace(IDENTITY, stack="billing"))), out=ALONE),
        standing(server(replace(PREPARED, identity=replace(IDENTITY, attempt=2))), FORWARD),
    ],
)
def test_what_cannot_be_known_is_unknown_and_every_command_ends_there(found: Standing) -> None:
    assert (found.state, found.serves) == (State.UNKNOWN, None)
    assert found.reason
    for command in COMMANDS:
        assert permissions.refusal(found, command, outputs()) is not None


def test_a_source_alone_tells_the_state_where_nothing_was_ever_moved() -> None:
    found = standing(server(CAUGHT_UP), None)
    assert (found.state, found.conditions) == (State.CAUGHT_UP, {Condition.TARGET_UNAVAILABLE})
    assert permissions.refusal(found, "cutover", outputs()) is SILENT
    assert permissions.refusal(found, "abandon", outputs()) is None


def test_a_target_alone_tells_that_it_serves() -> None:
    found = standing(None, server(opened(CAUGHT_UP, 1)))
    assert (found.state, found.serves) == (State.OPEN, "target")
    assert permissions.refusal(found, "rollback", outputs()) is SILENT
    assert permissions.refusal(found, "cutover", outputs()) is None


@pytest.mark.parametrize(
    ("target", "out", "at", "condition"),
    [
        (opened(CAUGHT_UP, 1), outputs(), NOW, None),
        (opened(CAUGHT_UP, 1), outputs(), NOW + timedelta(days=8), Condition.WINDOW_CLOSED),
        (opened(CAUGHT_UP, 1), outputs(rollback_window="none"), NOW, Condition.NO_ROLLBACK_PATH),
        (opened(CAUGHT_UP, 1, path=False), outputs(), NOW, Condition.NO_ROLLBACK_PATH),
        (opened(CAUGHT_UP, 1, done=False), outputs(), NOW, Condition.UNFINISHED),
        (replace(opened(CAUGHT_UP, 1), moving=Moving("rollback", "me")), outputs(), NOW, Condition.ROLLING_BACK),
    ],
)
def test_after_open(target: Records, out: Outputs, at: datetime, condition: Condition | None) -> None:
    found = standing(server(CAUGHT_UP, follows=BACK), server(target), out=out, at=at)
    assert found.state is State.OPEN
    assert found.conditions == ({condition} if condition else set())
    assert permissions.row(found).condition is condition


@pytest.mark.parametrize(
    ("source", "target", "more"),
    [
        (server(PREPARED), server(replace(opened(CAUGHT_UP, 1), retired=Retired(NOW, "me", {}))), {}),
        (server(None), server(replace(opened(CAUGHT_UP, 1), retired=Retired(NOW, "me", {}))), {}),
        (server(None), server(None), {"ending": Ending.RETIRED, "prepared_parameter": {"attempt": 1}}),
        (server(replace(PREPARED, abandoned=Abandoned(1, NOW, "me"))), FORWARD, {}),
        (server(PREPARED), server(replace(PREPARED, abandoned=Abandoned(1, NOW, "me"))), {}),
        (server(replace(PREPARED, abandoned=Abandoned(1, NOW, "me"))), None, {}),
    ],
)
def test_an_end_that_was_interrupted_is_completed_by_its_own_command_alone(source: Any, target: Any, more: Any) -> None:
    found = standing(source, target, **more)
    assert found.state in (State.RETIRED, State.ABANDONED)
    assert Condition.UNFINISHED in found.conditions
    goes = [c for c in COMMANDS if permissions.cell(found, c).verdict is Verdict.GO]
    assert goes == ["retire" if found.state is State.RETIRED else "abandon"]


def test_what_is_wrong_with_replication_is_a_condition() -> None:
    assert standing(server(CAUGHT_UP), server(PREPARED, follows=SLOT, worker=None)).conditions == {
        Condition.APPLY_STOPPED
    }
    assert standing(server(CAUGHT_UP, allow=False), FORWARD).conditions == {Condition.SERVING_SIDE_CLOSED}
    assert standing(replace(server(CAUGHT_UP), slots={}), FORWARD).conditions == {Condition.SLOT_LOST}


def test_every_state_has_a_row_and_every_row_a_cell_for_every_command() -> None:
    assert {row.state for row in TABLE} == set(State)
    assert all(set(row.cells) == set(COMMANDS) for row in TABLE)
    assert len({row.name for row in TABLE}) == len(TABLE)
    # A row without a condition takes all that is left of its state, so it comes last.
    for state in State:
        rows = [row.condition for row in TABLE if row.state is state]
        assert rows.index(None) == len(rows) - 1


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_command_that_ends_says_what_holds_and_what_comes_next(row: permissions.Row) -> None:
    found = Standing(row.state, "source", frozenset({row.condition} if row.condition else ()))
    for command in COMMANDS:
        problem = permissions.refusal(found, command, outputs())
        verdict = row.cells[command].verdict
        assert (problem is None) == (verdict in (Verdict.GO, Verdict.DONE))
        if problem is not None:
            assert isinstance(problem, NotYet if verdict is Verdict.NOT_YET else Refused)
            assert problem.message == row.summary
            assert problem.hint and "{" not in problem.hint


def test_the_end_of_the_rollback_window_is_asked_for_by_name() -> None:
    found = Standing(State.OPEN, "target")
    assert isinstance(permissions.refusal(found, "retire", outputs()), NotYet)
    assert permissions.refusal(found, "retire", outputs(), {"--end-rollback-window"}) is None
