"""The table of states: what each command does in each state. `encryptdb states` prints it.

A row holds for a state, or for a state with one condition: the first row that fits counts. A cell says go, already
done, not yet (status 3) or refused (status 4). Each row has the exact next command line; a cell may name another one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from encryptdb.controller.next_line import Next, line
from encryptdb.controller.state import Condition, Standing, State
from encryptdb.stacks.contract.errors import NotYet, Problem, Refused
from encryptdb.stacks.contract.outputs import Outputs

Command = Literal["prepare", "replicate", "verify", "cutover", "rollback", "abandon", "retire", "adopt"]
COMMANDS: tuple[Command, ...] = (
    "prepare", "replicate", "verify", "cutover", "rollback", "abandon", "retire", "adopt",
)  # fmt: skip
"""The commands that the state decides about. The others read only, and answer in every state."""


class Verdict(StrEnum):
    """What a command does. Its JSON and table form."""

    GO = "go"
    DONE = "already done"
    NOT_YET = "not yet"
    REFUSED = "refused"


@dataclass(frozen=True)
class Cell:
    """`why` completes the row's summary where the command ends here. `unless` is the option with which it goes on."""

    verdict: Verdict
    why: str = ""
    next: Next | None = None
    unless: str | None = None


@dataclass(frozen=True)
class Row:
    """One state, or a state with one condition. `summary` is what the operator reads; `next` what comes next."""

    state: State
    condition: Condition | None
    summary: str
    next: Next
    cells: Mapping[Command, Cell]

    @property
    def name(self) -> str:
        return f"{self.state}, {self.condition}" if self.condition else str(self.state)


GO = Cell(Verdict.GO)
DONE = Cell(Verdict.DONE)
NOT_YET = Cell(Verdict.NOT_YET)


def _refused(why: str = "", next: Next | None = None) -> Cell:
    return Cell(Verdict.REFUSED, why, next)


def _cells(*cells: Cell) -> Mapping[Command, Cell]:
    return dict(zip(COMMANDS, cells, strict=True))


_NOTHING_MOVED = Cell(Verdict.NOT_YET, "Nothing was cut over: the source serves.")
_ENDS_WINDOW = Cell(
    Verdict.NOT_YET,
    "The rollback window is open, and retire ends it.",
    Next.END_WINDOW,
    unless="--end-rollback-window",
)
_TARGET_SERVES = _refused("The target has taken writes; `rollback` takes them back to the source.")
_NO_WAY_BACK = _refused("What was written on the target since is not on the source.")
_ENDED = _refused("This attempt has ended.")

TABLE: tuple[Row, ...] = (
    Row(State.NOT_PREPARED, None, "The source is not prepared.", Next.PREPARE, _cells(
        # prepare  replicate  verify  cutover  rollback  abandon  retire  adopt
        GO, NOT_YET, NOT_YET, NOT_YET, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.PREPARED, None, "The source is prepared; the target does not exist yet.", Next.RESTORE, _cells(
        GO, NOT_YET, NOT_YET, NOT_YET, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.RESTORED, None, "The target is restored and does not follow the source yet.", Next.REPLICATE, _cells(
        DONE, GO, NOT_YET, NOT_YET, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.REPLICATING, None, "The target follows the source and has not caught up yet.", Next.REPLICATE, _cells(
        DONE, GO, GO, NOT_YET, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.CAUGHT_UP, None, "The target has caught up and follows the source.", Next.CUTOVER, _cells(
        DONE, GO, GO, GO, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.MOVING, None, "A cutover was interrupted before it opened the target.", Next.CUTOVER, _cells(
        DONE, NOT_YET, NOT_YET, GO, _NOTHING_MOVED, GO, _NOTHING_MOVED, NOT_YET)),
    Row(State.OPEN, Condition.UNFINISHED, "The target serves, but the cutover has not finished.", Next.CUTOVER, _cells(
        DONE, DONE, NOT_YET, GO, GO, _TARGET_SERVES, NOT_YET, NOT_YET)),
    Row(State.OPEN, Condition.ROLLING_BACK,
        "A rollback was interrupted before it opened the source; the target serves.", Next.ROLLBACK, _cells(
        DONE, DONE, NOT_YET, NOT_YET, GO, _TARGET_SERVES, NOT_YET, NOT_YET)),
    Row(State.OPEN, Condition.NO_ROLLBACK_PATH, "The target serves; there is no rollback path.", Next.RETIRE, _cells(
        DONE, DONE, GO, DONE, _NO_WAY_BACK, _NO_WAY_BACK, GO, NOT_YET)),
    Row(State.OPEN, Condition.WINDOW_CLOSED, "The target serves; the rollback window is over.", Next.RETIRE, _cells(
        DONE, DONE, GO, DONE, _refused("The source still follows the target.", Next.LONGER_WINDOW), _TARGET_SERVES, GO,
        NOT_YET)),
    Row(State.OPEN, None, "The target serves, and the source follows it.", Next.END_WINDOW, _cells(
        DONE, DONE, GO, DONE, GO, _TARGET_SERVES, _ENDS_WINDOW, NOT_YET)),
    Row(State.ROLLED_BACK, Condition.UNFINISHED, "The source serves again, but the rollback has not finished.",
        Next.ROLLBACK, _cells(
        DONE, NOT_YET, NOT_YET, NOT_YET, GO, NOT_YET, NOT_YET, NOT_YET)),
    Row(State.ROLLED_BACK, None, "The migration was rolled back: the source serves, and the target follows it.",
        Next.ABANDON, _cells(
        DONE, DONE, GO, GO, DONE, GO, _refused("The source is in use."), _refused("The source is in use."))),
    Row(State.RETIRED, Condition.UNFINISHED, "The migration is being retired; the target serves.", Next.RETIRE, _cells(
        DONE, DONE, _ENDED, DONE, _NO_WAY_BACK, _NO_WAY_BACK, GO, NOT_YET)),
    Row(State.RETIRED, Condition.BEFORE_RETIRE_PHASE, "The migration is retired; the snapshots and the link remain.",
        Next.RETIRE_PHASE, _cells(
        DONE, DONE, _ENDED, DONE, _NO_WAY_BACK, _NO_WAY_BACK, DONE, NOT_YET)),
    Row(State.RETIRED, None, "The migration is retired; the target serves.", Next.ADOPT, _cells(
        DONE, DONE, _ENDED, DONE, _NO_WAY_BACK, _NO_WAY_BACK, DONE, GO)),
    Row(State.ABANDONED, Condition.UNFINISHED, "This attempt is being abandoned.", Next.ABANDON, _cells(
        _ENDED, _ENDED, _ENDED, _ENDED, _ENDED, GO, _ENDED, _ENDED)),
    Row(State.ABANDONED, None, "This attempt was abandoned; the source serves.", Next.NEXT_ATTEMPT, _cells(
        _ENDED, _ENDED, _ENDED, _ENDED, _ENDED, DONE, _ENDED, _ENDED)),
    Row(State.UNKNOWN, None, "The state of the migration is not known.", Next.STATUS, _cells(
        *[_refused() for _ in COMMANDS])),
)  # fmt: skip


def row(standing: Standing) -> Row:
    """The row of the table that holds."""
    return next(
        r for r in TABLE if r.state is standing.state and (r.condition is None or r.condition in standing.conditions)
    )


def cell(standing: Standing, command: Command) -> Cell:
    """What the command does now."""
    return row(standing).cells[command]


NEEDS: Mapping[Command, frozenset[Condition]] = {
    "prepare": frozenset({Condition.SOURCE_UNAVAILABLE}),
    "replicate": frozenset({Condition.SOURCE_UNAVAILABLE, Condition.TARGET_UNAVAILABLE}),
    "verify": frozenset({Condition.SOURCE_UNAVAILABLE, Condition.TARGET_UNAVAILABLE}),
    "cutover": frozenset({Condition.TARGET_UNAVAILABLE}),
    "rollback": frozenset({Condition.SOURCE_UNAVAILABLE, Condition.TARGET_UNAVAILABLE}),
    "abandon": frozenset({Condition.SOURCE_UNAVAILABLE}),
    "retire": frozenset({Condition.TARGET_UNAVAILABLE}),
    "adopt": frozenset(),
}
"""The sides that a command cannot do without, as the conditions under which it fails. After OPEN the cutover is
completed without the source; `retire` asks AWS whether a source that does not answer is gone."""


def refusal(standing: Standing, command: Command, outputs: Outputs, given: Collection[str] = ()) -> Problem | None:
    """Why the command ends here; None where it goes on, or where its goal is reached. `given` are its options."""
    found, answer = row(standing), cell(standing, command)
    if standing.problem is not None and (standing.state is State.UNKNOWN or NEEDS[command] & standing.conditions):
        return standing.problem
    if answer.verdict in (Verdict.GO, Verdict.DONE) or (answer.unless is not None and answer.unless in given):
        return None
    kind = NotYet if answer.verdict is Verdict.NOT_YET else Refused
    return kind(
        standing.reason or found.summary,
        detail=" ".join(filter(None, (answer.why, _serves(standing)))),
        hint=line(answer.next or found.next, outputs),
    )


def _serves(standing: Standing) -> str:
    return f"The {standing.serves} serves. Nothing was changed." if standing.serves else "Nothing was changed."
