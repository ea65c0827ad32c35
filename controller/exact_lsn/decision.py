"""From the evidence to the exact LSN, or to a refusal with the bracket. Pure.

The proof decides: every LSN in the bracket makes the subscription deliver exactly what the copy lacks, and no other
does. A candidate outside it is reported with what it would have done, and not used.
"""

from dataclasses import dataclass

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Bracket, Candidate, Proof, Validity
from encryptdb.controller.records import ExactLSN
from encryptdb.stacks.contract.errors import Refused

COMMIT_TIMESTAMPS = "commit timestamps"
"""What the proof compares."""

GIVEN = "--lsn"
"""The source of the candidate that the operator gave."""

UNCHANGED = "Neither server was changed."


@dataclass(frozen=True)
class Evidence:
    """What the decision rests on. `brackets` and `slots` (confirmed_flush_lsn) are by database name; `source_flush` is
    the source's flushed end of WAL. `replicate` and `next_attempt` are the command lines for the hints."""

    candidates: tuple[Candidate, ...]
    brackets: dict[str, Bracket]
    slots: dict[str, LSN]
    source_flush: LSN
    replicate: str = ""
    next_attempt: str = ""


def decide(evidence: Evidence, given: LSN | None = None) -> ExactLSN:
    """The LSN `given` if it is exact; else the best candidate in the bracket; else the end of the last included commit
    record. Raises Refused, with the bracket in the message."""
    proof = intersect(evidence)
    candidates = evidence.candidates
    if given is not None:
        _refuse_outside(given, proof, evidence)
        candidates = (Candidate(GIVEN, given, Validity.ALWAYS, "given by the operator"), *candidates)
    ranked = sorted(candidates, key=lambda c: (c.source != GIVEN, c.valid is not Validity.ALWAYS))
    exact = [c for c in ranked if proof.holds(c.lsn)]
    remarks = [_remark(c, proof) for c in ranked if not proof.holds(c.lsn)]
    if exact:
        value = exact[0].lsn
    else:
        value = max(b.included_end for b in evidence.brackets.values())
        remarks.insert(0, f"No candidate lies in the bracket. {value} is the end of the last included commit record.")
    _refuse_outside_slots(value, evidence, proof)
    return ExactLSN(value, candidates, proof, tuple(remarks))


def intersect(evidence: Evidence) -> Proof:
    """The bracket that lies inside every database's. Raises Refused if there is none."""
    last_in, last = max(evidence.brackets.items(), key=lambda item: item[1].last_included)
    first_in, first = min(evidence.brackets.items(), key=lambda item: item[1].first_missing)
    if last.last_included >= first.first_missing:
        raise Refused(
            "The databases of the copy do not end at one point of the source's WAL.",
            detail=f"In {last_in} the copy holds the commit at {last.last_included}, in {first_in} it lacks the "
            f"earlier one at {first.first_missing}. No LSN is exact for both. {UNCHANGED}",
            hint=evidence.next_attempt,
        )
    return Proof(
        last.last_included,
        first.first_missing,
        sum(b.included + b.missing for b in evidence.brackets.values()),
        COMMIT_TIMESTAMPS,
        dict(evidence.brackets),
    )


def unproved(reason: str, candidates: tuple[Candidate, ...], next_attempt: str) -> Refused:
    """The refusal where there is no proof. No candidate is used without one."""
    return Refused(
        f"The exact LSN cannot be proved: {reason}.",
        detail=f"{_listed(candidates)} A wrong LSN would lose or repeat transactions without any error. {UNCHANGED}",
        hint=next_attempt,
    )


def consequence(lsn: LSN, proof: Proof) -> str:
    """What a subscription that starts at `lsn` would do."""
    if lsn <= proof.last_included:
        return f"would apply the commit at {proof.last_included} a second time"
    if lsn > proof.first_missing:
        return f"would lose the commit at {proof.first_missing}"
    return "is exact"


def bracket(proof: Proof) -> str:
    """The bracket, as every refusal of an LSN names it."""
    return f"Exact is any LSN after {proof.last_included} up to {proof.first_missing}"


def _refuse_outside(given: LSN, proof: Proof, evidence: Evidence) -> None:
    if not proof.holds(given):
        raise Refused(
            f"--lsn {given} is refused: it {consequence(given, proof)}. {bracket(proof)}.",
            detail=f"The copy holds the commit at {proof.last_included} and lacks the one at {proof.first_missing} "
            f"({proof.transactions} transactions compared by {proof.by}). {_listed(evidence.candidates)} {UNCHANGED}",
            hint=evidence.replicate,
        )


def _refuse_outside_slots(lsn: LSN, evidence: Evidence, proof: Proof) -> None:
    """The bracket implies this. If it does not hold, another client has consumed a slot."""
    for database, confirmed in evidence.slots.items():
        if not confirmed <= lsn <= evidence.source_flush:
            raise Refused(
                f"The source cannot send from {lsn}: it can from {confirmed} up to {evidence.source_flush}.",
                detail=f"The slot of database {database} is confirmed up to {confirmed}, and the source's WAL is "
                f"flushed up to {evidence.source_flush}. {bracket(proof)}. Another client may have consumed the slot. "
                f"{UNCHANGED}",
                hint=evidence.next_attempt,
            )


def _remark(candidate: Candidate, proof: Proof) -> str:
    would = consequence(candidate.lsn, proof)
    return f"Not used: {candidate.lsn} ({candidate.source}; valid {candidate.valid.value}) {would}."


def _listed(candidates: tuple[Candidate, ...]) -> str:
    listed = ", ".join(f"{c.lsn} ({c.source})" for c in candidates)
    return f"Candidates: {listed}." if listed else "There is no candidate."
