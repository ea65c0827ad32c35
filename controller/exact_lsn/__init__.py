"""The exact LSN: where the snapshot ends in the source's WAL, found from every witness and proved against the data.

`witnesses` name candidates, `proof` reads the slots and the copy's commit times, `decision` concludes. The method is
explained in docs/exact-lsn.md.
"""

from controller.errors import Refused
from controller.exact_lsn import row_proof
from controller.exact_lsn.decision import decide
from controller.exact_lsn.evidence import (
    COMMIT_TIMESTAMPS,
    ROW_VERSIONS,
    Bracket,
    Evidence,
    ExactLSN,
    Proof,
    Silence,
    Trust,
    Witness,
)
from controller.exact_lsn.proof import Lost, Void, check_anchor, find_bracket, flushed
from controller.exact_lsn.witnesses import collect
from controller.lsn import LSN
from controller.migration import Migration
from controller.observe import State

__all__ = ["Bracket", "Evidence", "ExactLSN", "Proof", "Silence", "Trust", "Witness", "find_exact_lsn"]


def find_exact_lsn(m: Migration, state: State) -> ExactLSN:
    """The exact LSN, or the one given with `--lsn` if it is exact. Raises Refused where nothing is proved.

    Leaves both servers as they were, but for one heartbeat in each database of the source.
    """
    m.say("asking the witnesses of the end of recovery")
    slots = _positions(m, state)
    witnesses, silent = collect(m, tuple(d.name for d in state.migrated), min(slots.values()))
    for witness in witnesses:
        m.say(f"  {witness.lsn}  {witness.name}")
    for silence in silent:
        m.say(f"  silent: {silence.name}: {silence.why}")
    found = decide(_evidence(m, state, slots, witnesses, silent), m.options.lsn)
    m.say(
        f"the copy holds the commit at {found.proof.last_included} and lacks the one at {found.proof.first_missing} "
        f"({found.proof.transactions} transactions compared by {found.proof.by})"
    )
    for remark in found.remarks:
        m.say(f"  {remark}")
    return found


def _evidence(
    m: Migration,
    state: State,
    slots: dict[str, LSN],
    witnesses: tuple[Witness, ...],
    silent: tuple[Silence, ...],
) -> Evidence:
    brackets: dict[str, Bracket] = {}
    heartbeats = state.records.get("heartbeats") or {}
    by, void = COMMIT_TIMESTAMPS, None
    try:
        try:
            check_anchor(m.the_target, state.migrated, heartbeats)
            find = find_bracket
        except Lost as reason:
            m.say(f"no proof by commit timestamps ({reason}); asking the rows")
            by, void = ROW_VERSIONS, f"{reason}; and "
            row_proof.check_anchor(m.the_target, state.migrated, heartbeats)
            find = row_proof.find_bracket
        for database in state.migrated:
            brackets[database.name] = find(m, database, slots[database.name], witnesses)
        void = None
    except Void as reason:
        void, brackets = f"{void or ''}{reason}", {}
    return Evidence(witnesses, silent, brackets, slots, flushed(m.source), by, void)


def _positions(m: Migration, state: State) -> dict[str, LSN]:
    """confirmed_flush_lsn of each database's slot. Raises Refused where a slot is not there."""
    assert state.source is not None, "before OPEN the source is always observed"
    found: dict[str, LSN] = {}
    for database in state.migrated:
        slot = state.source.slots.get(m.names.slot(database.oid))
        if slot is None or slot.confirmed_flush_lsn is None:
            raise Refused(
                f"The slot {m.names.slot(database.oid)} is gone from the source.",
                detail=f"It kept the changes of the database {database.name} since prepare; they cannot be had again.",
                hint="Abandon, set attempt one higher in the stack's config, and begin again with prepare.",
            )
        found[database.name] = slot.confirmed_flush_lsn
    return found
