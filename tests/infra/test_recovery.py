"""What becomes of a creation that was cut off, decided from the exported state and from what AWS answers."""

from typing import Any, cast

import pytest

from encryptdb.stacks.__main__ import settled
from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.errors import NotYet, Refused
from encryptdb.stacks.recovery import Begun, Found, begun, find, taken_over
from tests.infra.worlds import snapshot_of

URN = "urn:pulumi:orders-prod::encryptdb::encryptdb:rds:EncryptedInstance$aws:rds/snapshot:Snapshot::snapshot-1"
TAGS = dict(snapshot_of(1).tags)
INPUTS = {"dbSnapshotIdentifier": "encryptdb-orders-prod-1", "tags": TAGS}


def export(*kinds: str) -> dict[str, Any]:
    """What `pulumi stack export` prints after an update was killed."""
    resource = {"urn": URN, "type": "aws:rds/snapshot:Snapshot", "custom": True, "inputs": INPUTS}
    return {
        "version": 3,
        "deployment": {
            "resources": [{"urn": "urn:first"}],
            "pending_operations": [{"resource": dict(resource), "type": kind} for kind in kinds],
        },
    }


class Account:
    """An account with at most one snapshot; each read takes the next status."""

    def __init__(self, *statuses: str, tags: dict[str, str] | None = None) -> None:
        self.statuses, self.tags = list(statuses), TAGS if tags is None else tags

    def call(self, service: str, operation: str, DBSnapshotIdentifier: str) -> dict[str, Any]:
        if not self.statuses:
            raise NotFound("AWS knows no such thing.")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return {"DBSnapshots": [{"DBSnapshotIdentifier": DBSnapshotIdentifier, "Status": status, "TagList": tags}]}


def reads(*statuses: str, tags: dict[str, str] | None = None) -> Aws:
    return cast(Aws, Account(*statuses, tags=tags))


def test_what_is_still_being_made_is_waited_for_and_nothing_is_decided_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    creations = begun(export("creating"))
    with pytest.raises(NotYet, match=r"encryptdb-orders-prod-1 \(creating\)"):
        settled(reads("creating"), creations, 0)
    clock = iter(range(100))
    found = settled(
        reads("creating", "creating", "available"), creations, 60, lambda: float(next(clock)), lambda _: None
    )
    assert found[URN] is not None
    assert "AWS is still creating encryptdb-orders-prod-1 (creating); 59 s left to wait" in capsys.readouterr().err


def test_what_aws_has_failed_at_is_never_taken_over() -> None:
    with pytest.raises(Refused, match="failed"):
        settled(reads("failed"), begun(export("creating")), 0)


def test_a_stranger_s_thing_of_that_name_is_never_taken_over() -> None:
    with pytest.raises(Refused, match="without this stack's tags"):
        find(reads("available", tags={"team": "orders"}), begun(export("creating"))[0])


def test_a_type_that_nobody_knows_to_look_for_is_refused() -> None:
    with pytest.raises(Refused, match="aws:s3/bucket:Bucket"):
        find(reads(), Begun("urn::x", "aws:s3/bucket:Bucket", {}))


def test_what_was_made_becomes_a_resource_and_the_operation_ends() -> None:
    after = taken_over(export("creating"), {URN: Found("encryptdb-orders-prod-1")})["deployment"]
    assert [r["urn"] for r in after["resources"]] == ["urn:first", URN]
    assert (after["resources"][1]["id"], after["resources"][1]["outputs"]) == ("encryptdb-orders-prod-1", INPUTS)
    assert "pending_operations" not in after


def test_what_was_never_made_is_forgotten() -> None:
    after = taken_over(export("creating"), {URN: None})["deployment"]
    assert [r["urn"] for r in after["resources"]] == ["urn:first"]
    assert "pending_operations" not in after


def test_other_operations_are_left_to_the_engine() -> None:
    document = export("updating")
    assert begun(document) == ()
    assert taken_over(document, {}) == document


def test_two_of_one_urn_are_refused() -> None:
    document = export("creating")
    document["deployment"]["resources"].append({"urn": URN})
    with pytest.raises(Refused, match="two exist"):
        taken_over(document, {URN: Found("encryptdb-orders-prod-1")})


def half_made() -> dict[str, Any]:
    """What `pulumi stack export` prints after an update was interrupted and the provider has stopped waiting."""
    document = export()
    resource = {"urn": URN, "type": "aws:rds/snapshot:Snapshot", "id": "encryptdb-orders-prod-1", "inputs": INPUTS}
    document["deployment"]["resources"].append(resource | {"initErrors": ["stopped while waiting"]})
    return document


def test_what_a_provider_left_half_made_is_waited_for_like_what_was_killed() -> None:
    document = half_made()
    with pytest.raises(NotYet, match=r"encryptdb-orders-prod-1 \(creating\)"):
        settled(reads("creating"), begun(document), 0)
    after = taken_over(document, settled(reads("available"), begun(document), 0))["deployment"]
    assert [(r["urn"], r.get("id")) for r in after["resources"]] == [
        ("urn:first", None),
        (URN, "encryptdb-orders-prod-1"),
    ]
    assert "initErrors" not in after["resources"][1]


def test_what_was_left_half_made_and_is_gone_is_left_to_the_refresh() -> None:
    assert taken_over(half_made(), {URN: None})["deployment"]["resources"] == half_made()["deployment"]["resources"]
