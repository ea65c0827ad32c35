"""From the evidence to the exact LSN, or to a refusal with the bracket."""

import pytest

from encryptdb.controller.exact_lsn.decision import Evidence, consequence, decide, intersect, unproved
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Bracket, Candidate, Validity, as_json, from_json
from encryptdb.controller.records import ExactLSN
from encryptdb.stacks.contract.errors import Refused


def at(position: int) -> LSN:
    return LSN(position)


def bracket(last: int, first: int) -> Bracket:
    return Bracket(at(last), at(last + 48), at(first), 10, 3)


def exact(lsn: int, source: str = "server log: invalid record length") -> Candidate:
    return Candidate(source, at(lsn), Validity.ALWAYS, "read so")


def replayed(lsn: int) -> Candidate:
    return Candidate("pg_last_wal_replay_lsn()", at(lsn), Validity.UNTIL_RESTART, "read so")


def evidence(*candidates: Candidate, brackets: dict[str, Bracket] | None = None) -> Evidence:
    found = {"app": bracket(1000, 2000)} if brackets is None else brackets
    return Evidence(candidates, found, {"app": at(100)}, at(9000), "replicate", "begin again")


def test_the_best_candidate_in_the_bracket_names_it() -> None:
    assert decide(evidence(replayed(1100), exact(1200))).value == at(1200)


def test_a_candidate_that_is_valid_for_a_time_serves_where_no_other_is_in_the_bracket() -> None:
    found = decide(evidence(exact(2500), replayed(1100)))
    assert found.value == at(1100)
    assert "would lose the commit at 0/7D0" in found.remarks[0]


def test_without_a_candidate_it_is_the_end_of_the_last_included_commit() -> None:
    found = decide(evidence())
    assert found.value == at(1048)
    assert found.remarks == ("No candidate lies in the bracket. 0/418 is the end of the last included commit record.",)


def test_a_candidate_outside_the_bracket_is_reported_and_not_used() -> None:
    found = decide(evidence(exact(900), exact(1200, "another")))
    assert found.value == at(1200)
    assert found.remarks == (
        "Not used: 0/384 (server log: invalid record length; valid always) would apply the commit at 0/3E8 a second "
        "time.",
    )


def test_one_lsn_has_to_fit_every_database() -> None:
    proof = intersect(
        evidence(brackets={"app": bracket(1000, 2000), "b": bracket(1500, 9000), "c": bracket(200, 1700)})
    )
    assert (proof.last_included, proof.first_missing, proof.transactions) == (at(1500), at(1700), 39)


def test_without_a_candidate_it_lies_in_every_databases_bracket_too() -> None:
    found = decide(evidence(brackets={"app": bracket(1000, 9000), "b": bracket(1500, 1548)}))
    assert found.value == at(1548)


def test_brackets_that_do_not_intersect_are_refused() -> None:
    with pytest.raises(Refused, match="do not end at one point") as refused:
        decide(evidence(exact(1200), brackets={"app": bracket(1000, 1100), "b": bracket(1200, 2000)}))
    assert refused.value.hint == "begin again"


def test_without_a_proof_no_candidate_is_believed() -> None:
    refused = unproved("the copy runs with track_commit_timestamp = off", (exact(1200),), "begin again")
    assert refused.message == "The exact LSN cannot be proved: the copy runs with track_commit_timestamp = off."
    assert "0/4B0" in str(refused.detail)
    assert refused.hint == "begin again"


@pytest.mark.parametrize("inside", [1001, 1500, 2000])
def test_the_bracket_excludes_the_last_included_and_includes_the_first_missing(inside: int) -> None:
    assert decide(evidence(), at(inside)).value == at(inside)


@pytest.mark.parametrize("given", ["0/3E8", "0/7D1", "0/0", "0/64", "FF/0"])
def test_any_other_lsn_that_is_given_is_refused_with_the_bracket(given: str) -> None:
    with pytest.raises(Refused) as refused:
        decide(evidence(), LSN.parse(given))
    assert "after 0/3E8 up to 0/7D0" in refused.value.message
    assert refused.value.hint == "replicate"


def test_a_given_lsn_is_a_candidate_among_the_others() -> None:
    found = decide(evidence(exact(1200), exact(2500, "another")), at(1001))
    assert found.value == at(1001)
    assert [(c.source, c.lsn) for c in found.candidates[:2]] == [
        ("--lsn", at(1001)),
        ("server log: invalid record length", at(1200)),
    ]
    assert len(found.remarks) == 1 and "would lose the commit at 0/7D0" in found.remarks[0]


@pytest.mark.parametrize("slots, flush", [({"app": at(1300)}, at(9000)), ({"app": at(100)}, at(1100))])
@pytest.mark.parametrize("given", [None, at(1200)])
def test_what_the_source_cannot_send_is_refused_whatever_else_says(
    slots: dict[str, LSN], flush: LSN, given: LSN | None
) -> None:
    found = Evidence((exact(1200),), {"app": bracket(1000, 2000)}, slots, flush)
    with pytest.raises(Refused, match="The source cannot send from 0/4B0"):
        decide(found, given)


def test_the_consequence_of_each_position() -> None:
    proof = intersect(evidence())
    assert consequence(at(1000), proof) == "would apply the commit at 0/3E8 a second time"
    assert consequence(at(1001), proof) == consequence(at(2000), proof) == "is exact"
    assert consequence(at(2001), proof) == "would lose the commit at 0/7D0"


def test_the_document_is_that_of_the_design_and_reads_back() -> None:
    found = decide(evidence(exact(1200), replayed(7)))
    document = as_json(found)
    assert document["value"] == "0/4B0"
    assert {"source": "server log: invalid record length", "lsn": "0/4B0"}.items() <= document["candidates"][0].items()
    assert {
        "last_included": "0/3E8",
        "first_missing": "0/7D0",
        "transactions": 13,
        "by": "commit timestamps",
    }.items() <= (document["proof"].items())
    assert from_json(document, ExactLSN) == found
