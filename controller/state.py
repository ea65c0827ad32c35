"""The state of a migration: one value, decided by one pure function from what both servers, AWS and Pulumi show.

Every command asks here, and `controller.permissions` says what each command does in each state. What cannot be known is
`UNKNOWN`, with the reason; it is never taken for a harmless state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import ObservedServer
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.records import Records
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.names import Ending
from encryptdb.stacks.contract.outputs import Outputs, window_length


class State(StrEnum):
    """Where a migration is. The values are part of the JSON interface."""

    NOT_PREPARED = "not-prepared"
    PREPARED = "prepared"
    RESTORED = "restored"
    REPLICATING = "replicating"
    CAUGHT_UP = "caught-up"
    MOVING = "moving"
    OPEN = "open"
    ROLLED_BACK = "rolled-back"
    RETIRED = "retired"
    ABANDONED = "abandoned"
    UNKNOWN = "unknown"


class Condition(StrEnum):
    """What holds besides. The first five select a row of the table of states; the others are for people."""

    UNFINISHED = "unfinished"
    """The command that led to this state was interrupted after its decision: run again, it completes the rest."""
    ROLLING_BACK = "rolling-back"
    """A rollback was interrupted before it opened the source: the target serves."""
    NO_ROLLBACK_PATH = "no-rollback-path"
    """The cutover was made with rollbackWindow: none."""
    WINDOW_CLOSED = "rollback-window-closed"
    """The source still follows, but longer ago than rollbackWindow the target was opened."""
    BEFORE_RETIRE_PHASE = "before-phase-retire"
    """Pulumi still holds the snapshots and the network link."""
    OF_ANOTHER = "of-another-migration"
    """The source's control database belongs to another stack or attempt."""
    SOURCE_UNAVAILABLE = "source-unavailable"
    TARGET_UNAVAILABLE = "target-unavailable"
    SERVING_SIDE_CLOSED = "serving-side-closed"
    """A database on the side that serves takes no connections: a cutover or rollback was interrupted in its pause."""
    APPLY_STOPPED = "apply-stopped"
    """An enabled subscription has no apply worker."""
    SLOT_LOST = "slot-lost"
    """A slot that replication needs is missing or invalidated."""


@dataclass(frozen=True)
class Standing:
    """The state, the side that serves (None: unknown), what holds besides, and until when the rollback window is open.

    `reason` says why the state is unknown; `problem` is the error of the server or of AWS, where that is the reason.
    """

    state: State
    serves: SideName | None
    conditions: frozenset[Condition] = frozenset()
    closes: datetime | None = None
    reason: str | None = None
    problem: Problem | None = None


def decide(outputs: Outputs, names: Names, observed: Observed) -> Standing:
    """The state. Pure."""
    ended = _ended(outputs, observed)
    if ended is not None:
        return ended
    source, target = observed.source, observed.target
    if (source is None and outputs.target is None) or (source is None and target is None):
        return _unknown("The source cannot be read.", observed.source_problem)
    if source is None:
        return _by_target_alone(outputs, observed)
    if (other := _of_another(outputs, source.records)) is not None:
        return other
    if outputs.target is None:
        return Standing(
            State.PREPARED if source.records is not None and source.records.prepared else State.NOT_PREPARED,
            "source",
            _health(names, observed, "source"),
        )
    if target is None:
        return _by_source_alone(source, observed)
    if source.records is None and _epoch(target.records) == 0:
        if observed.aws_problem is not None:
            return _unknown("Whether this attempt was retired or abandoned cannot be read.", observed.aws_problem)
        return _unknown(
            "The control database is missing on the source, and nothing on the target or in AWS says that this attempt "
            "was abandoned or retired."
        )
    if _epoch(target.records) > _epoch(source.records):
        return _open(outputs, names, observed)
    return _source_serves(names, source, target, observed)


def _ended(outputs: Outputs, observed: Observed) -> Standing | None:
    """Retired or abandoned: by the record, or, once the control databases are gone, by the tag on the target."""
    source = observed.source.records if observed.source else None
    target = observed.target.records if observed.target else None
    left = observed.prepared_parameter is not None or observed.aws_problem is not None or source is not None
    if (target is not None and target.retired) or observed.ending is Ending.RETIRED:
        phase = frozenset({Condition.BEFORE_RETIRE_PHASE} if outputs.phase != "retire" else ())
        return Standing(State.RETIRED, "target", _unfinished(left or target is not None) | phase)
    if (
        (source is not None and source.abandoned)
        or (target is not None and target.abandoned)
        or observed.ending is Ending.ABANDONED
    ):
        return Standing(State.ABANDONED, "source", _unfinished(left))
    return None


def _of_another(outputs: Outputs, records: Records | None) -> Standing | None:
    found = records.identity if records is not None else None
    if found is None or (found.stack, found.attempt) == (outputs.stack, outputs.attempt):
        return None
    return _unknown(
        f"The control database on the source belongs to stack {found.stack}, attempt {found.attempt}; this is stack "
        f"{outputs.stack}, attempt {outputs.attempt}.",
        condition=Condition.OF_ANOTHER,
    )


def _by_target_alone(outputs: Outputs, observed: Observed) -> Standing:
    """The source cannot be read. The target says that it serves, unless a rollback may have opened the source since."""
    assert observed.target is not None
    records = observed.target.records
    if records is None or records.moving is not None or records.epoch == 0:
        return _unknown("Which side serves cannot be told while the source does not answer.", observed.source_problem)
    standing = _opened(outputs, records, observed.at)
    return Standing(
        standing.state,
        "target",
        standing.conditions | {Condition.SOURCE_UNAVAILABLE},
        standing.closes,
        problem=observed.source_problem,
    )


def _by_source_alone(source: ObservedServer, observed: Observed) -> Standing:
    """The target cannot be read. The source alone proves that it serves only where nothing was ever moved."""
    records = source.records
    if records is None or not never_moved(source):
        return _unknown("Which side serves cannot be told while the target does not answer.", observed.target_problem)
    state = (
        State.NOT_PREPARED if records.prepared is None
        else State.CAUGHT_UP if records.caught_up
        else State.REPLICATING if records.exact_lsn
        else State.RESTORED
    )  # fmt: skip
    return Standing(state, "source", frozenset({Condition.TARGET_UNAVAILABLE}), problem=observed.target_problem)


def never_moved(source: ObservedServer) -> bool:
    """Whether no cutover ever went beyond its preparations: each leaves its traces on the source, from before the pause
    until a rollback or `retire` (the record of the move, the fence, the revoked connect privileges)."""
    records = source.records
    if records is None:
        return True
    moved = {d.oid for d in (records.databases.listed if records.databases else ())}
    return not (records.moving or records.open or records.connect_privileges) and all(
        d.allow_connections for d in source.databases if d.oid in moved
    )


def _open(outputs: Outputs, names: Names, observed: Observed) -> Standing:
    assert observed.target is not None and observed.target.records is not None
    standing = _opened(outputs, observed.target.records, observed.at)
    return Standing(standing.state, "target", standing.conditions | _health(names, observed, "target"), standing.closes)


def _opened(outputs: Outputs, records: Records, now: datetime) -> Standing:
    """The target serves: whether the cutover has finished, and how long there is a rollback path."""
    assert records.open is not None
    window = window_length(outputs.rollback_window) if records.open.rollback_path else None
    closes = records.open.at + window if window is not None else None
    if records.moving is not None:
        return Standing(State.OPEN, "target", frozenset({Condition.ROLLING_BACK}), closes)
    if records.cutover is None:
        return Standing(State.OPEN, "target", frozenset({Condition.UNFINISHED}), closes)
    ended = Condition.NO_ROLLBACK_PATH if closes is None else Condition.WINDOW_CLOSED if now > closes else None
    return Standing(State.OPEN, "target", frozenset({ended} if ended else ()), closes)


def _source_serves(names: Names, source: ObservedServer, target: ObservedServer, observed: Observed) -> Standing:
    records, health = source.records, _health(names, observed, "source")
    assert records is not None
    if records.moving is not None:
        return Standing(State.MOVING, "source", health)
    if records.epoch > 0:
        return Standing(State.ROLLED_BACK, "source", health | _unfinished(records.rollback is None))
    if records.prepared is None:
        return Standing(State.NOT_PREPARED, "source", health)
    forward = [target.subscriptions.get(names.slot(d.oid)) for d in observed.migrated]
    if not forward or not all(s is not None and s.enabled for s in forward):
        return Standing(State.RESTORED, "source", health)
    return Standing(State.CAUGHT_UP if records.caught_up else State.REPLICATING, "source", health)


def _health(names: Names, observed: Observed, serves: SideName) -> frozenset[Condition]:
    """What is wrong with the replication from the side that serves to the other one."""
    serving, following = (
        (observed.source, observed.target) if serves == "source" else (observed.target, observed.source)
    )
    assert serving is not None
    slot_of = names.slot if serves == "source" else names.back_slot
    found: set[Condition] = set()
    if any(not d.allow_connections for d in observed.migrated_on(serving)):
        found.add(Condition.SERVING_SIDE_CLOSED)
    if following is None:
        return frozenset(found)
    for database in observed.migrated:
        name = slot_of(database.oid)
        subscription = following.subscriptions.get(name)
        if subscription is None or not subscription.enabled:
            continue
        if subscription.worker_pid is None:
            found.add(Condition.APPLY_STOPPED)
        if serving.slot_lost(name):
            found.add(Condition.SLOT_LOST)
    return frozenset(found)


def _epoch(records: Records | None) -> int:
    return records.epoch if records is not None else 0


def _unfinished(left: bool) -> frozenset[Condition]:
    return frozenset({Condition.UNFINISHED}) if left else frozenset()


def _unknown(reason: str, problem: Problem | None = None, condition: Condition | None = None) -> Standing:
    conditions: Sequence[Condition] = [condition] if condition else []
    return Standing(State.UNKNOWN, None, frozenset(conditions), reason=reason, problem=problem)
