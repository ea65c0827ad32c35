"""The exact LSN: where the snapshot ends in the source's WAL, found from every candidate and proved against the data.

`candidates` name candidates, `proof` reads the slots and the copy's commit times, `decision` concludes. The method is
explained in docs/exact-lsn.md.
"""

from encryptdb.controller.exact_lsn import row_proof
from encryptdb.controller.exact_lsn.candidates import collect
from encryptdb.controller.exact_lsn.decision import decide
from encryptdb.controller.exact_lsn.evidence import (
    COMMIT_TIMESTAMPS,
    ROW_VERSIONS,
    Bracket,
    Candidate,
    Evidence,
    ExactLSN,
    Proof,
    Silence,
    Trust,
)
from encryptdb.controller.exact_lsn.proof import Lost, Void, check_anchor, find_bracket, flushed
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.stacks.contract.errors import Refused

__all__ = ["Bracket", "Candidate", "Evidence", "ExactLSN", "Proof", "Silence", "Trust", "find_exact_lsn"]


def find_exact_lsn(m: Migration, observed: Observed) -> ExactLSN:
    """The exact LSN, or the one given with `--lsn` if it is exact. Raises Refused where nothing is proved.

    Leaves both servers as they were, but for one heartbeat in each database of the source.
    """
    m.say("asking the candidates of the end of recovery")
    slots = _positions(m, observed)
    candidates, silent = collect(m, tuple(d.name for d in observed.migrated), min(slots.values()))
    for candidate in candidates:
        m.say(f"  {candidate.lsn}  {candidate.name}")
    for silence in silent:
        m.say(f"  silent: {silence.name}: {silence.why}")
    found = decide(_evidence(m, observed, slots, candidates, silent), m.options.lsn)
    m.say(
        f"the copy holds the commit at {found.proof.last_included} and lacks the one at {found.proof.first_missing} "
        f"({found.proof.transactions} transactions compared by {found.proof.by})"
    )
    for remark in found.remarks:
        m.say(f"  {remark}")
    return found


def _evidence(
    m: Migration,
    observed: Observed,
    slots: dict[str, LSN],
    candidates: tuple[Candidate, ...],
    silent: tuple[Silence, ...],
) -> Evidence:
    brackets: dict[str, Bracket] = {}
    recorded = observed.records.heartbeats
    heartbeats = recorded.databases if recorded else {}
    by, void = COMMIT_TIMESTAMPS, None
    try:
        try:
            check_anchor(m.the_target, observed.migrated, heartbeats)
            find = find_bracket
        except Lost as reason:
            m.say(f"no proof by commit timestamps ({reason}); asking the rows")
            by, void = ROW_VERSIONS, f"{reason}; and "
            row_proof.check_anchor(m.the_target, observed.migrated, heartbeats)
            find = row_proof.find_bracket
        for database in observed.migrated:
            brackets[database.name] = find(m, database, slots[database.name], candidates)
        void = None
    except Void as reason:
        void, brackets = f"{void or ''}{reason}", {}
    return Evidence(candidates, silent, brackets, slots, flushed(m.source), by, void)


def _positions(m: Migration, observed: Observed) -> dict[str, LSN]:
    """confirmed_flush_lsn of each database's slot. Raises Refused where a slot is not there."""
    assert observed.source is not None, "before OPEN the source is always observed"
    found: dict[str, LSN] = {}
    for database in observed.migrated:
        slot = observed.source.slots.get(m.names.slot(database.oid))
        if slot is None or slot.confirmed_flush_lsn is None:
            raise Refused(
                f"The slot {m.names.slot(database.oid)} is gone from the source.",
                detail=f"It kept the changes of the database {database.name} since prepare; they cannot be had again.",
                hint="Abandon, set attempt one higher in the stack's config, and begin again with prepare.",
            )
        found[database.name] = slot.confirmed_flush_lsn
    return found
