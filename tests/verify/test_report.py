"""The report holds the evidence, says what it could not read, outlives the control databases, escapes everything."""

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from encryptdb.controller import report
from encryptdb.controller.commands import report as command
from encryptdb.controller.commands import verify
from encryptdb.controller.migration import Migration, Options
from encryptdb.controller.permissions import TABLE, Row
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Bracket, Candidate, DatabaseName, Proof, Validity, as_json
from encryptdb.controller.records import Cutover, Databases, ExactLSN
from encryptdb.controller.report.store import read, with_evidence
from encryptdb.controller.state import State
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Usage
from tests.kit.secret_search import Search
from tests.verify.pair import Pair

JOINED = ExactLSN(
    LSN.parse("0/5000060"),
    (Candidate("server log", LSN.parse("0/5000060"), Validity.ALWAYS, "invalid <record>"),),
    Proof(
        LSN.parse("0/5000030"),
        LSN.parse("0/5000061"),
        82,
        "commit timestamps",
        {"app": Bracket(LSN.parse("0/5000030"), LSN.parse("0/5000058"), LSN.parse("0/5000061"), 32, 50)},
    ),
    ("one remark",),
)

CUTOVER = Cutover(
    serving="target",
    epoch=1,
    opened_at=datetime(2024, 11, 24, 4, 18, 11, 123456, UTC),
    end_lsns={"app": LSN.parse("0/7000000")},
    steps_ms={"open": 3.1, "drain": 12.0, "fence": 19.4},
    pause_ms=48.7,
    interrupted=False,
    rollback_path=True,
)

RECORDS = {r.key: as_json(r) for r in (Databases((DatabaseName(5, "app"),)), JOINED, CUTOVER)}

DATA: dict[str, Any] = {
    "version": 1, "at": "2024-11-24T05:00:00+00:00", "by": "somebody@somewhere", "stack": "orders", "attempt": 1,
    "phase": "restore", "engine": "postgres", "region": "eu-central-1", "account": "123456789012",
    "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/1", "snapshot_arn": None, "state": "open",
    "summary": "The target serves, and the source follows it.",
    "serves": "target", "evidence_at": "2024-11-24T05:00:00+00:00",
    "instances": {
        "source": {"identifier": "orders", "resource_id": "db-S", "known": True, "status": "available",
                   "engine_version": "15.8", "encrypted": False, "encryption_type": None, "kms_key_arn": None,
                   "deletion_protection": False, "created": None},
        "target": {"identifier": "orders-encrypted", "resource_id": "db-T", "known": True, "status": "available",
                   "engine_version": "15.8", "encrypted": True, "encryption_type": "sse-kms",
                   "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/1", "deletion_protection": True,
                   "created": None},
    },
    "records": json.loads(json.dumps(RECORDS)),
    "journal": [{"at": "2024-11-24T04:00:00+00:00", "who": "me@here", "event": "prepare", "detail": {"n": 1}}],
    "leftovers": [{"kind": "snapshot", "name": "old", "remedy": "aws rds delete-db-snapshot"}],
    "problems": [],
}  # fmt: skip


class _Text(HTMLParser):
    """What a reader sees, and which elements there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href") or name.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements are nested"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.seen.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.seen))


def shown(**changes: Any) -> str:
    return _Text(report.render(copy.deepcopy(DATA) | changes)).text


def test_it_says_where_the_changes_join_and_how_that_was_proved() -> None:
    text = shown()
    for expected in ("0/5000060", "0/5000030", "0/5000061", "82 transactions", "commit timestamps", "server log"):
        assert expected in text


def test_it_says_how_long_writers_were_held_back_and_by_what() -> None:
    text = shown()
    assert "held back for 49 ms" in text
    assert text.index("fence 19.4") < text.index("drain 12.0") < text.index("open 3.1")
    assert "2024-11-24 04:18:11.123 UTC" in text


def test_it_shows_the_encryption_of_both_sides_and_compares_the_key() -> None:
    assert "The target is encrypted under the key that the stack asks for" in shown()
    other = copy.deepcopy(DATA["instances"])
    other["target"]["kms_key_arn"] = "arn:aws:kms:eu-central-1:123456789012:key/2"
    assert "The target is NOT encrypted under the key" in shown(instances=other)


def test_a_difference_found_by_verify_is_not_shown_as_equal() -> None:
    found = {"equal": False, "tables": 3, "rows": 10, "differing": ["app: t"], "not_compared": [], "not_covered": {},
             "publisher": "source", "writers_waited_ms": 2.0, "point": {}, "at": "x", "by": "me"}  # fmt: skip
    text = shown(records=DATA["records"] | {"verify": found})
    assert "Of 3 tables, 1 differed" in text
    assert "app: t" in text
    assert "Source and target were equal" not in text
    assert "Both sides were equal, row by row DOES NOT HOLD" in text


def test_nothing_is_claimed_without_evidence() -> None:
    text = shown(records={}, instances=DATA["instances"] | {"target": None}, state="prepared")
    assert text.count("no evidence yet") == 4
    assert "holds" not in text.split("What this establishes")[1].split("Journal")[0].replace("What still holds", "")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_can_be_made_at_every_state(row: Row) -> None:
    bare = {"state": row.state, "summary": row.summary, "records": {}, "journal": [], "leftovers": None}
    instances = DATA["instances"] | ({"target": None} if row.state in (State.NOT_PREPARED, State.PREPARED) else {})
    assert row.summary in shown(**bare, instances=instances, evidence_at=None)


def test_everything_is_escaped_and_nothing_is_loaded_or_run() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
    data = copy.deepcopy(DATA)
    data["stack"] = data["by"] = evil
    data["journal"][0] |= {"who": evil, "event": evil, "detail": {evil: evil}}
    data["records"]["databases"]["listed"][0]["name"] = evil
    data["records"]["exact_lsn"]["candidates"][0]["detail"] = evil
    data["problems"] = [{"what": evil, "message": evil, "detail": None}]
    data["leftovers"] = [{"kind": evil, "name": evil, "remedy": evil}]
    page = report.render(data)
    found = _Text(page)
    assert "img" not in found.tags
    assert found.links == []
    assert page.count("<script") == 1
    assert evil in found.text


def test_the_data_can_be_read_back_and_outlive_the_control_databases(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report.render(DATA))
    assert read(path) == DATA
    later = DATA | {
        "state": "retired",
        "records": {},
        "journal": [],
        "evidence_at": None,
        "at": "2024-12-01T00:00:00",
    }
    kept = with_evidence(later, read(path))
    assert kept["records"] == DATA["records"]
    assert kept["journal"] == DATA["journal"]
    assert kept["state"] == "retired"
    assert "Evidence read" in _Text(report.render(kept)).text


def test_another_attempts_evidence_is_not_taken_over(tmp_path: Path) -> None:
    later = DATA | {"attempt": 2, "records": {}, "journal": []}
    assert with_evidence(later, DATA)["records"] == {}
    (tmp_path / "other.html").write_text("<html>not ours</html>")
    assert read(tmp_path / "other.html") is None


@contextmanager
def migration(pair: Pair, output: Path) -> Iterator[Migration]:
    made = dataclasses.replace(pair.migration(), aws=Aws("eu-central-1"), options=Options(output=str(output)))
    with closing(made):
        yield made


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing-only")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def test_the_command_reads_both_servers_and_aws(pair: Pair, tmp_path: Path, credentials: None) -> None:
    out = tmp_path / "report.html"
    with mock_aws(), migration(pair, out) as m:
        m.aws.call(
            "rds", "create_db_instance", DBInstanceIdentifier="orders", DBInstanceClass="db.t3.medium",
            Engine="postgres", AllocatedStorage=20, MasterUsername="master", MasterUserPassword="master-secret-4711",
        )  # fmt: skip
        arn = m.aws.call("rds", "describe_db_instances", DBInstanceIdentifier="orders")["DBInstances"][0]
        side = dataclasses.replace(m.outputs.source, resource_id=arn["DbiResourceId"])
        m = dataclasses.replace(m, outputs=dataclasses.replace(m.outputs, source=side))
        control.write(m.source, JOINED)
        verify.run(m)
        document = command.run(m)
    assert document["report"] == str(out)
    text = _Text(out.read_text()).text
    assert "Source and target were equal" in text
    assert "0/5000060" in text
    assert "materialized view" in text
    assert "gone" in text, "there is no instance orders-encrypted"
    assert Search({"the master's password": "master-secret-4711"}).paths([out]) == []
    assert out.stat().st_mode & 0o777 == 0o644


def test_the_command_reports_also_where_a_side_and_aws_are_silent(
    pair: Pair, tmp_path: Path, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    out = tmp_path / "report.html"
    with migration(pair, out) as m:
        pair.target.stop()
        try:
            command.run(m)
        finally:
            pair.target.start()
    text = _Text(out.read_text()).text
    assert "Unknown: the target's control database" in text
    assert "Unknown: AWS about orders" in text
    assert "0/5000060" in text, "what the source holds is there"


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path, pair: Pair) -> None:
    with (
        migration(pair, tmp_path / "missing" / "report.html") as m,
        pytest.raises(Usage, match="Could not write"),
    ):
        report.write(m, DATA)
    assert list(tmp_path.iterdir()) == []
