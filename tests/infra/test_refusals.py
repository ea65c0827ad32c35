"""What is refused before anything is touched: the error names the key to change, or says what comes first."""

import dataclasses
import json
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockSettings
from pulumi.runtime.settings import configure

from controller.switches import _kinds
from stacks.errors import ConfigError, NotYet, StackError, Unsafe
from stacks.facts import Mark
from stacks.observe import Key, find_source
from stacks.plan import decide
from stacks.settings import SWITCH_KINDS, Overrides, Settings, read_settings
from tests.infra.worlds import (
    KEY,
    OTHER_KEY,
    SOURCE_INSTANCE,
    restored,
    seen,
    settings,
    snapshot_of,
    target_of,
)

GONE: dict[str, Any] = {"source": None, "key": None, "mark": None}


@pytest.mark.parametrize(
    ("key", "config", "world"),
    [
        ("phase", {"phase": "prepare"}, restored()),
        ("phase", {"phase": "prepare"}, seen(snapshot=snapshot_of(1))),
        ("phase", {"phase": "restore"}, restored(snapshot=None, encrypted=None)),
        ("phase", {"phase": "retire"}, seen(**GONE)),
        ("attempt", {"phase": "restore"}, seen(targets={2: target_of(2)})),
        ("source", {}, seen(source=None)),
        ("source", {"phase": "restore"}, seen(source=None, snapshot=snapshot_of(1))),
        ("source", {}, seen(source=dataclasses.replace(SOURCE_INSTANCE, engine="aurora-postgresql"))),
        ("source", {}, seen(source=dataclasses.replace(SOURCE_INSTANCE, engine="mysql"))),
        ("source", {"attempt": 2}, seen(source=target_of(1))),
        ("kmsKey", {}, seen(key=Key(KEY, False, "Disabled", "SYMMETRIC_DEFAULT"))),
        ("kmsKey", {}, seen(key=Key(KEY, True, "Enabled", "RSA_2048"))),
        ("kmsKey", {}, seen(source=dataclasses.replace(SOURCE_INSTANCE, encrypted=True, kms_key_arn=KEY))),
        ("kmsKey", {"phase": "restore"}, restored(key=Key(OTHER_KEY, True, "Enabled", "SYMMETRIC_DEFAULT"))),
        ("publiclyAccessible", {"overrides": Overrides(publicly_accessible=True)}, seen()),
        ("targetIdentifier", {"overrides": Overrides(target_identifier="orders-prod")}, seen()),
    ],
    ids=lambda value: None if not isinstance(value, str) else value,
)
def test_wrong_config_is_an_error_that_names_the_key(key: str, config: dict[str, Any], world: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        decide(settings(**config), world)
    assert refused.value.key == f"encryptdb:{key}"
    assert refused.value.message.startswith(f"encryptdb:{key}: ")
    assert refused.value.hint
    assert refused.value.status == 2


@pytest.mark.parametrize(
    "mark",
    [None, Mark("db-ANOTHER", 1), Mark("db-SOURCE", 2)],
    ids=["not prepared", "another server", "another attempt"],
)
def test_no_snapshot_of_a_source_that_is_not_prepared(mark: Mark | None) -> None:
    with pytest.raises(NotYet) as refused:
        decide(settings(phase="restore"), seen(mark=mark))
    assert "python -m controller prepare --stack orders-prod" in refused.value.hint
    assert refused.value.status == 3


def test_no_retirement_while_replication_still_needs_the_link() -> None:
    with pytest.raises(NotYet) as refused:
        decide(settings(phase="retire"), restored(source=None, key=None))
    assert "controller retire" in refused.value.hint


@pytest.mark.parametrize("text", ["", "[]", '{"attempt": 1}', '{"source_resource_id": "db-1", "attempt": "x"}'])
def test_an_unreadable_mark_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(Unsafe):
        Mark.parse("/encryptdb/orders-prod/prepared", text)


def test_every_refusal_ends_a_pulumi_program_plainly() -> None:
    assert issubclass(StackError, pulumi.RunError)
    assert "What to do: do this" in str(ConfigError("phase", "it is wrong.", "do this"))


def test_the_name_finds_the_source_before_anything_was_made_from_it() -> None:
    assert find_source("orders-prod", (SOURCE_INSTANCE,), None, None) is SOURCE_INSTANCE


def test_a_renamed_source_is_found_by_the_resource_id_in_the_mark() -> None:
    renamed = dataclasses.replace(SOURCE_INSTANCE, identifier="orders-old")
    assert find_source("orders-prod", (renamed,), None, Mark("db-SOURCE", 1)) is renamed


def test_after_the_cutover_a_target_that_took_over_the_name_is_not_the_source() -> None:
    named = target_of(1, identifier="orders-prod")
    old = dataclasses.replace(SOURCE_INSTANCE, identifier="orders-old")
    assert find_source("orders-prod", (named, old), "db-SOURCE", None) is old
    assert find_source("orders-prod", (named,), "db-SOURCE", None) is None


def configured(**values: str) -> Settings:
    """Settings as the program reads them."""
    configure(MockSettings(project="encryptdb", stack="orders-prod", dry_run=False))
    set_all_config({f"encryptdb:{k}": v for k, v in values.items()}, [])
    return read_settings()


def test_an_empty_value_is_the_same_as_none() -> None:
    empty = configured(
        source="orders-prod", kmsKey="", instanceClass="", securityGroups="[]", switches="[]", multiAz=""
    )
    assert empty == Settings("orders-prod", "orders-prod", "prepare")


def test_lists_and_objects_are_json() -> None:
    read = configured(source="Orders-Prod", securityGroups='["sg-1"]', switches='[{"kind": "pgbouncer"}]')
    assert read.overrides.security_groups == ("sg-1",)
    assert read.switches == ({"kind": "pgbouncer"},)
    assert read.source == "orders-prod"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phase", "cutover"),
        ("attempt", "0"),
        ("attempt", "-1"),
        ("attempt", "two"),
        ("source", ""),
        ("source", "arn:aws:rds:eu-central-1:111122223333:db:orders-prod"),
        ("source", "orders--prod"),
        ("targetIdentifier", "9orders"),
        ("targetIdentifier", "o" * 64),
        ("parameterGroup", "mine"),
        ("link", "no"),
        ("auth", "kerberos"),
        ("multiAz", "yes"),
        ("securityGroups", "sg-1"),
        ("securityGroups", "[1]"),
        ("switches", '{"kind": "pgbouncer"}'),
        ("switches", '[{"kind": "dns"}]'),
        ("switches", "[}"),
        ("rollbackWindow", "a week"),
        ("rollbackWindow", "7"),
        ("sourceSecret", "hunter2"),
    ],
)
def test_a_value_that_cannot_be_followed_names_its_key(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(**{"source": "orders-prod", key: value})
    assert refused.value.key == f"encryptdb:{key}"


def test_a_password_set_where_an_arn_belongs_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        configured(source="orders-prod", sourceSecret="hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "switch",
    [
        '[{"kind": "pgbouncer", "admin": "postgresql://admin:hunter2@pooler:6432/pgbouncer"}]',
        '[{"kind": "pgbouncer", "password": "hunter2"}]',
    ],
)
def test_a_switch_with_a_password_is_refused_without_repeating_it(switch: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(source="orders-prod", switches=switch)
    assert refused.value.key == "encryptdb:switches"
    assert "hunter2" not in str(refused.value)


def test_a_switch_that_names_where_its_password_is_passes() -> None:
    switch = {"kind": "pgbouncer", "admin": "postgresql://admin@pooler:6432/pgbouncer", "passwordEnv": "PW"}
    assert configured(source="orders-prod", switches=json.dumps([switch])).switches == (switch,)


def test_the_program_knows_the_switches_that_the_controller_has() -> None:
    assert set(SWITCH_KINDS) == set(_kinds())


@pytest.mark.parametrize("window", ["7d", "36h", "90m", "none"])
def test_windows_are_durations(window: str) -> None:
    assert configured(source="orders-prod", rollbackWindow=window).rollback_window == window
