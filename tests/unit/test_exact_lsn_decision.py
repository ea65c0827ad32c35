"""From evidence to the exact LSN, or to a refusal that shows the bracket."""

import pytest

from encryptdb.controller.exact_lsn.decision import consequence, decide, join
from encryptdb.controller.exact_lsn.evidence import Bracket, Candidate, Evidence, ExactLSN, Trust
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import as_json, from_json
from encryptdb.stacks.contract.errors import Refused


def at(position: int) -> LSN:
    return LSN(position)


def bracket(last: int, first: int) -> Bracket:
    return Bracket(at(last), at(last + 48), at(first), 10, 3)


def exact(lsn: int, name: str = "server log: invalid record length") -> Candidate:
    return Candidate(name, at(lsn), Trust.EXACT, "said so")


def hint(lsn: int) -> Candidate:
    return Candidate("pg_last_wal_replay_lsn()", at(lsn), Trust.HINT, "said so")


def evidence(*candidates: Candidate, brackets: dict[str, Bracket] | None = None, void: str | None = None) -> Evidence:
    found = {"app": bracket(1000, 2000)} if brackets is None else brackets
    return Evidence(candidates, (), found, {"app": at(100)}, at(9000), void=void)


def test_the_best_candidate_in_the_bracket_names_it() -> None:
    assert decide(evidence(hint(1100), exact(1200))).value == at(1200)


def test_a_hint_in_the_bracket_serves_where_nothing_better_is_in_it() -> None:
    found = decide(evidence(exact(2500), hint(1100)))
    assert found.value == at(1100)
    assert "would lose the commit at 0/7D0" in found.remarks[0]


def test_without_a_candidate_it_is_the_end_of_the_last_included_commit() -> None:
    found = decide(evidence())
    assert found.value == at(1048)
    assert "only candidate" in found.remarks[0]


def test_a_candidate_that_points_elsewhere_is_shown_and_not_followed() -> None:
    found = decide(evidence(exact(900), exact(1200, "another")))
    assert found.value == at(1200)
    assert found.remarks == (
        "server log: invalid record length names 0/384, which would send the commit at 0/3E8 a second time: "
        "not followed (said so).",
    )


def test_one_lsn_has_to_fit_every_database() -> None:
    proof = join(evidence(brackets={"app": bracket(1000, 2000), "b": bracket(1500, 9000), "c": bracket(200, 1700)}))
    assert (proof.last_included, proof.first_missing, proof.transactions) == (at(1500), at(1700), 39)


def test_without_a_candidate_it_lies_in_the_joint_bracket_too() -> None:
    found = decide(evidence(brackets={"app": bracket(1000, 9000), "b": bracket(1500, 1548)}))
    assert found.value == at(1548)


def test_brackets_that_do_not_meet_are_refused() -> None:
    with pytest.raises(Refused, match="not frozen at one point"):
        decide(evidence(exact(1200), brackets={"app": bracket(1000, 1100), "b": bracket(1200, 2000)}))


def test_without_a_proof_no_candidate_is_believed() -> None:
    with pytest.raises(Refused, match="cannot be proved: the copy runs with track_commit_timestamp off") as refused:
        decide(evidence(exact(1200), brackets={}, void="the copy runs with track_commit_timestamp off"))
    assert "0/4B0" in str(refused.value.detail)


def test_without_a_proof_an_lsn_by_hand_is_not_believed_either() -> None:
    with pytest.raises(Refused, match="cannot be proved"):
        decide(evidence(exact(1200), brackets={}, void="why"), by_hand="0/4B0")


@pytest.mark.parametrize("inside", [1001, 1500, 2000])
def test_the_bracket_excludes_the_last_included_and_includes_the_first_missing(inside: int) -> None:
    assert decide(evidence(), by_hand=str(at(inside))).value == at(inside)


@pytest.mark.parametrize("typed", ["0/3E8", "0/7D1", "0/0", "0/64", "FF/0", "16", "", "0/3E9; x", "-1/5"])
def test_anything_else_by_hand_is_refused_with_the_bracket(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        decide(evidence(), by_hand=typed)
    assert "after 0/3E8 up to 0/7D0" in refused.value.message


def test_an_lsn_by_hand_is_told_which_candidates_it_differs_from() -> None:
    found = decide(evidence(exact(1200), exact(2500, "another")), by_hand="0/3E9")
    assert found.candidates[0].name == "by hand (--lsn)"
    assert "names 0/4B0 instead, which is exact." in found.remarks[0]
    assert "would lose the commit at 0/7D0" in found.remarks[1]


@pytest.mark.parametrize("slots, flush", [({"app": at(1300)}, at(9000)), ({"app": at(100)}, at(1100))])
def test_what_the_source_cannot_send_is_refused_whatever_else_says(slots: dict[str, LSN], flush: LSN) -> None:
    found = Evidence((exact(1200),), (), {"app": bracket(1000, 2000)}, slots, flush)
    with pytest.raises(Refused, match="outside of what the source can send"):
        decide(found)


def test_the_consequence_of_each_position() -> None:
    proof = join(evidence())
    assert consequence(at(1000), proof) == "would send the commit at 0/3E8 a second time"
    assert consequence(at(1001), proof) == consequence(at(2000), proof) == "is exact"
    assert consequence(at(2001), proof) == "would lose the commit at 0/7D0"


def test_the_conclusion_survives_its_json() -> None:
    found = decide(evidence(exact(1200), hint(7)))
    assert from_json(as_json(found), ExactLSN) == found
