"""The exact LSN: where the snapshot ends in the source's WAL, found from every candidate and proved against the data.

`candidates` and `server_log` name LSNs, `proof` reads the slots (`slot_stream`) and the copy's commit timestamps,
`decision` concludes. docs/exact-lsn.md explains the method.
"""

from encryptdb.controller.exact_lsn.candidates import collect
from encryptdb.controller.exact_lsn.decision import UNCHANGED, Evidence, decide, unproved
from encryptdb.controller.exact_lsn.proof import Unproved, check_heartbeats, find_bracket, flushed
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.records import ExactLSN
from encryptdb.stacks.contract.errors import Refused

__all__ = ["find_exact_lsn", "refuse_unprovable", "slot_positions"]


def find_exact_lsn(m: Migration, observed: Observed) -> ExactLSN:
    """The exact LSN, or the one given with `--lsn` if it is exact. Raises Refused without a proof.

    Changes nothing on either server, except for one heartbeat in each database of the source.
    """
    m.say("collecting candidate LSNs")
    slots = slot_positions(m, observed)
    found, unavailable = collect(m, tuple(d.name for d in observed.migrated), min(slots.values()))
    for candidate in found:
        m.say(f"  {candidate.lsn}  {candidate.source}")
    for source in unavailable:
        m.say(f"  unavailable: {source.source}: {source.reason}")
    candidates, near = tuple(found), [c.lsn for c in found]
    try:
        _check_heartbeats(m, observed)
        brackets = {d.name: find_bracket(m, d, slots[d.name], near) for d in observed.migrated}
    except Unproved as reason:
        raise unproved(str(reason), candidates, m.next_attempt) from None
    replicate = line(Next.REPLICATE, m.outputs)
    evidence = Evidence(candidates, brackets, slots, flushed(m.source), replicate, m.next_attempt)
    exact = decide(evidence, m.options.lsn)
    m.say(
        f"the copy holds the commit at {exact.proof.last_included} and lacks the one at {exact.proof.first_missing} "
        f"({exact.proof.transactions} transactions compared by {exact.proof.by})"
    )
    for remark in exact.remarks:
        m.say(f"  {remark}")
    return exact


def refuse_unprovable(m: Migration, observed: Observed) -> None:
    """Raise Refused, before the copy is touched, if it lacks the commit timestamps that the proof needs."""
    try:
        _check_heartbeats(m, observed)
    except Unproved as reason:
        assert m.outputs.target is not None
        group = m.described(m.outputs.target.identifier).parameter_group
        raise Refused(
            f"The exact LSN of this copy cannot be proved: {reason}.",
            detail=f"The copy's parameter group is {group}. Commit timestamps that are lost do not come back, so this "
            f"copy cannot be joined to the source without a guess. {UNCHANGED} The source goes on serving.",
            hint=f"{m.engine.words.set_parameters(group, {'track_commit_timestamp': 1})} && {m.next_attempt}",
        ) from None


def slot_positions(m: Migration, observed: Observed) -> dict[str, LSN]:
    """confirmed_flush_lsn of each database's slot, by database name. Raises Refused if one is missing or lost."""
    assert observed.source is not None, "before OPEN the source is always observed"
    found: dict[str, LSN] = {}
    for database in observed.migrated:
        slot = observed.source.slots.get(m.names.slot(database.oid))
        if slot is None or slot.confirmed_flush_lsn is None or slot.wal_status == "lost":
            raise Refused(
                f"Replication slot {m.names.slot(database.oid)} on the source is missing or invalidated.",
                detail=f"The changes of database {database.name} since prepare are lost to replication. "
                "If max_slot_wal_keep_size invalidated the slot, raise it before the next attempt.",
                hint=m.next_attempt,
            )
        found[database.name] = slot.confirmed_flush_lsn
    return found


def _check_heartbeats(m: Migration, observed: Observed) -> None:
    recorded = observed.records.heartbeats
    check_heartbeats(m.the_target, observed.migrated, recorded.databases if recorded else {})
