"""Every record survives its JSON; what is unknown or newer is refused; its properties fit together."""

import json
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

import pytest

from encryptdb.controller import report
from encryptdb.controller.postgres.control import parse
from encryptdb.controller.record_values import as_json
from encryptdb.controller.records import CLASSES, CLEARED, Records
from encryptdb.stacks.contract.errors import Refused
from tests.record_samples import SAMPLES

every_record = pytest.mark.parametrize("key", CLASSES)


def row(key: str, **changes: Any) -> tuple[str, int, Any]:
    """The row of a sample, as the driver gives it."""
    return key, CLASSES[key].version, json.loads(json.dumps(as_json(SAMPLES[key]))) | changes


@every_record
def test_it_survives_its_json(key: str) -> None:
    assert parse([row(key)], "source") == Records(**{key: SAMPLES[key]})


@every_record
def test_it_survives_its_json_with_all_that_is_optional_left_out(key: str) -> None:
    cls = CLASSES[key]
    optional = {f.name for f in fields(cls) if f.default is not MISSING}  # type: ignore[arg-type]
    least = cls(**{f.name: getattr(SAMPLES[key], f.name) for f in fields(cls) if f.name not in optional})  # type: ignore[arg-type]
    stored = {name: value for name, value in row(key)[2].items() if name not in optional}
    assert parse([(key, cls.version, stored)], "source") == Records(**{key: least})


def test_what_is_missing_is_none() -> None:
    assert parse([], "source") == Records()
    assert not Records()
    assert list(Records()) == []
    found = parse([row("open"), row("verify")], "target")
    assert found
    assert {r.key for r in found} == {"open", "verify"}
    assert found.moving is None


@every_record
def test_a_newer_version_is_refused(key: str) -> None:
    newer = CLASSES[key].version + 1
    with pytest.raises(Refused) as refused:
        parse([(key, newer, {"something": "new"})], "target")
    assert refused.value.message == "The control database on the target was written by a newer version of encryptdb."
    assert f"{key!r} in version {newer}" in (refused.value.detail or "")
    assert refused.value.hint == "pip install --upgrade encryptdb"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(Refused, match=r"on the source was written by a newer version") as refused:
        parse([row("open"), ("retirement", 1, {})], "source")
    assert "'retirement' in version 1" in (refused.value.detail or "")


@pytest.mark.parametrize("value", [{"epoch": 1, "who": "me"}, {}, {"epoch": "first"}, [], None, "text", 5])
def test_fields_that_are_unknown_missing_or_wrong_are_refused(value: Any) -> None:
    with pytest.raises(
        Refused, match=r"The record 'reader_probe' in the control database on the source cannot be read"
    ):
        parse([("reader_probe", 1, value)], "source")


def test_every_record_has_its_attribute() -> None:
    declared = {name: get_args(hint)[0] for name, hint in get_type_hints(Records).items()}
    assert declared == CLASSES


def test_the_names_are_unique_and_every_record_says_what_it_is() -> None:
    assert len({cls.__name__ for cls in CLASSES.values()}) == len(CLASSES)
    assert [key for key, cls in CLASSES.items() if not cls.__doc__ or "(" in cls.__doc__.splitlines()[0][:20]] == []


@every_record
def test_what_a_side_says_of_itself_or_of_one_epoch_is_not_carried_to_the_other(key: str) -> None:
    cls = CLASSES[key]
    assert not (cls.carried and (cls.about == "its own" or cls.cleared))


def test_what_belongs_to_an_epoch_is_cleared() -> None:
    assert {cls.key for cls in CLEARED} == {"moving", "open", "switched", "side_closed", "cutover", "rollback"}


def test_the_report_shows_a_sample_of_everything_reported() -> None:
    """Its sections read the same fields that the records have."""
    instance = {"identifier": "i", "resource_id": "db-X", "known": True, "status": "available", "encrypted": True}
    data: dict[str, Any] = {
        "version": 1, "at": "2024-11-24T05:00:00+00:00", "by": "me", "stack": "s", "attempt": 1, "phase": "restore",
        "engine": "postgres", "region": "eu-central-1", "account": "1", "kms_key_arn": "k", "snapshot_arn": None,
        "state": "open", "summary": "The target serves.", "serves": "target", "evidence_at": None,
        "instances": {"source": instance, "target": instance},
        "records": {r.key: as_json(r) for r in SAMPLES.values() if r.reported}, "journal": [], "leftovers": None,
        "problems": [],
    }  # fmt: skip
    page = report.render(data)
    for shown in ("16/B374D848", "a &lt;name&gt;", "2024-04-27 10:00:00.123 UTC", "held back for 2 ms"):
        assert shown in page
