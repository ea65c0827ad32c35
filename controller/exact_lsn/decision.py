"""From the evidence to the exact LSN, or to the reason why there is none. Pure.

The proof decides. Every LSN in the joint bracket makes the subscription deliver exactly what the copy lacks, and no
other does; a candidate that points elsewhere is shown with what it would have done, and is not followed.
"""

from encryptdb.controller.exact_lsn.evidence import COMMIT_TIMESTAMPS, Candidate, Evidence, ExactLSN, Proof, Trust
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.stacks.contract.errors import Refused

BY_HAND = "by hand (--lsn)"

_START_OVER = "Abandon, set attempt one higher in the stack's config, and begin again with prepare."


def decide(evidence: Evidence, by_hand: str | None = None) -> ExactLSN:
    """The exact LSN: the one typed by hand if it is proved; else the best candidate in the bracket; else the end of the
    last included commit. Raises Refused, with the bracket in the message, where nothing is proved."""
    proof = join(evidence)
    inside = [w for w in _by_trust(evidence.candidates) if _holds(proof, w.lsn)]
    if proof.by != COMMIT_TIMESTAMPS and not inside:
        _refuse_uncorroborated(evidence, proof)
    if by_hand is not None:
        return _accept_by_hand(by_hand, evidence, proof)
    if inside:
        value = inside[0].lsn
        remarks = _remarks(evidence, proof)
    else:
        value = max(b.included_end for b in evidence.brackets.values())
        alone = f"No candidate names an LSN in the bracket: {value} rests on the proof alone, its only candidate."
        remarks = (alone, *_remarks(evidence, proof))
    _refuse_out_of_slot(value, evidence, proof)
    return ExactLSN(value, evidence.candidates, proof, remarks)


def join(evidence: Evidence) -> Proof:
    """One bracket inside every database's. Raises Refused where there is no proof, or where they contradict."""
    if evidence.void is not None or not evidence.brackets:
        raise Refused(
            f"The exact LSN cannot be proved: {evidence.void or 'no database was looked at'}.",
            detail=f"{_named(evidence)}. Without a proof, none of them is used: a wrong LSN loses or repeats "
            "transactions in silence. Nothing was changed on either server.",
            hint=_START_OVER,
        )
    last = max(evidence.brackets.items(), key=lambda item: item[1].last_included)
    first = min(evidence.brackets.items(), key=lambda item: item[1].first_missing)
    if not last[1].last_included < first[1].first_missing:
        raise Refused(
            "The databases of the copy were not frozen at one point of the source's WAL.",
            detail=f"In {last[0]} the copy holds the commit at {last[1].last_included}, in {first[0]} it lacks the "
            f"earlier one at {first[1].first_missing}. No LSN fits both. Nothing was changed on either server.",
            hint=_START_OVER,
        )
    return Proof(
        last[1].last_included,
        first[1].first_missing,
        sum(b.included + b.missing for b in evidence.brackets.values()),
        evidence.by,
        dict(evidence.brackets),
    )


def consequence(lsn: LSN, proof: Proof) -> str:
    """What a subscription that starts at `lsn` would do."""
    if lsn <= proof.last_included:
        return f"would send the commit at {proof.last_included} a second time"
    if lsn > proof.first_missing:
        return f"would lose the commit at {proof.first_missing}"
    return "is exact"


def _refuse_uncorroborated(evidence: Evidence, proof: Proof) -> None:
    """A row that is not there may also have been deleted on the copy, by a job of its own, before we closed it."""
    raise Refused(
        f"The exact LSN cannot be proved: by {proof.by} it is after {proof.last_included} up to {proof.first_missing}, "
        "but no candidate names an LSN there.",
        detail=f"{_named(evidence)}. Commit timestamps are lost, and {proof.by} alone are not enough. "
        "Nothing was changed on either server.",
        hint=_START_OVER,
    )


def _accept_by_hand(typed: str, evidence: Evidence, proof: Proof) -> ExactLSN:
    bracket = f"Exact is any LSN after {proof.last_included} up to {proof.first_missing}"
    try:
        lsn = LSN.parse(typed)
    except ValueError:
        raise Refused(
            f"--lsn {typed!r} is not an LSN. {bracket}.",
            detail="An LSN looks like 16/B374D848. Nothing was changed on either server.",
            hint="Leave --lsn out: it is found and proved without.",
        ) from None
    if not _holds(proof, lsn):
        raise Refused(
            f"--lsn {lsn} is refused: it {consequence(lsn, proof)}. {bracket}.",
            detail=f"The copy holds the commit at {proof.last_included} and lacks the one at {proof.first_missing}, "
            f"by {proof.by}, {proof.transactions} transactions looked at. {_named(evidence)}. "
            "Nothing was changed on either server.",
            hint="Leave --lsn out: it is found and proved without.",
        )
    _refuse_out_of_slot(lsn, evidence, proof)
    candidate = Candidate(BY_HAND, lsn, Trust.EXACT, "typed by the operator, checked like any other")
    differing = tuple(
        f"{w.name} names {w.lsn} instead, which {consequence(w.lsn, proof)}."
        for w in evidence.candidates
        if w.lsn != lsn
    )
    return ExactLSN(lsn, (candidate, *evidence.candidates), proof, differing)


def _refuse_out_of_slot(lsn: LSN, evidence: Evidence, proof: Proof) -> None:
    """The bracket implies this; if it does not, something is not understood, and that must not pass."""
    for database, confirmed in evidence.slots.items():
        if not confirmed <= lsn <= evidence.source_flush:
            raise Refused(
                f"{lsn} lies outside of what the source can send: {confirmed} to {evidence.source_flush}.",
                detail=f"The slot of {database} was confirmed up to {confirmed}; the source's WAL is flushed up to "
                f"{evidence.source_flush}. The bracket was {proof.last_included} to {proof.first_missing}. "
                "Nothing was changed on either server.",
                hint="Somebody else may have consumed the slot. " + _START_OVER,
            )


def _remarks(evidence: Evidence, proof: Proof) -> tuple[str, ...]:
    return tuple(
        f"{w.name} names {w.lsn}, which {consequence(w.lsn, proof)}: not followed ({w.says})."
        for w in _by_trust(evidence.candidates)
        if not _holds(proof, w.lsn)
    )


def _named(evidence: Evidence) -> str:
    if not evidence.candidates:
        return "No candidate names an LSN"
    return "The candidates name: " + ", ".join(f"{w.lsn} ({w.name})" for w in evidence.candidates)


def _by_trust(candidates: tuple[Candidate, ...]) -> list[Candidate]:
    return sorted(candidates, key=lambda w: w.trust is not Trust.EXACT)


def _holds(proof: Proof, lsn: LSN) -> bool:
    return proof.last_included < lsn <= proof.first_missing
