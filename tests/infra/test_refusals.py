"""What is refused before anything is touched: the error names the key to change, or says what comes first."""

import dataclasses
import json
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockSettings
from pulumi.runtime.settings import configure

from encryptdb.stacks.cloud.database import Cluster, Database
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.contract.errors import ConfigError, NotYet, Problem, Refused
from encryptdb.stacks.observe import Key, find_source
from encryptdb.stacks.plan import decide
from encryptdb.stacks.program import plainly
from encryptdb.stacks.settings import Overrides, Settings, read_settings
from tests.infra.worlds import (
    AURORA,
    KEY,
    OTHER_KEY,
    RDS,
    SOURCE_CLUSTER,
    SOURCE_INSTANCE,
    Kind,
    member_of,
    restored,
    seen,
    settings,
    snapshot_of,
    target_cluster_of,
    target_of,
)

GONE: dict[str, Any] = {"source": None, "key": None, "prepared_parameter": None}


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
        ("source", {}, seen(source=dataclasses.replace(SOURCE_INSTANCE, engine="mysql"))),
        ("source", {"attempt": 2}, seen(source=target_of(1))),
        ("kmsKey", {}, seen(key=Key(KEY, False, "Disabled", "SYMMETRIC_DEFAULT"))),
        ("kmsKey", {}, seen(key=Key(KEY, True, "Enabled", "RSA_2048"))),
        ("kmsKey", {}, seen(source=dataclasses.replace(SOURCE_INSTANCE, encrypted=True, kms_key_arn=KEY))),
        ("kmsKey", {"phase": "restore"}, restored(key=Key(OTHER_KEY, True, "Enabled", "SYMMETRIC_DEFAULT"))),
        ("parameterGroup", {"phase": "restore", "parameter_group": "existing"}, seen()),
        ("parameterGroup", {"phase": "restore", "parameter_group": "existing"}, AURORA.seen(snapshot=snapshot_of(1))),
        ("phase", {"phase": "prepare"}, AURORA.restored()),
        ("phase", {"phase": "restore"}, AURORA.restored(snapshot=None)),
        ("phase", {"phase": "retire"}, AURORA.seen(**GONE)),
        ("attempt", {"phase": "restore"}, AURORA.seen(targets={2: target_cluster_of(2)})),
        ("source", {"attempt": 2}, AURORA.seen(source=target_cluster_of(1))),
        (
            "kmsKey",
            {},
            AURORA.seen(source=dataclasses.replace(SOURCE_CLUSTER, encrypted=True, kms_key_arn=KEY)),
        ),
        (
            "kmsKey",
            {"phase": "restore"},
            AURORA.restored(key=Key(OTHER_KEY, True, "Enabled", "SYMMETRIC_DEFAULT")),
        ),
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
    [None, ("ANOTHER", 1), ("SOURCE", 2)],
    ids=["not prepared", "another server", "another attempt"],
)
def test_no_snapshot_of_a_source_that_is_not_prepared(kind: Kind, mark: tuple[str, int] | None) -> None:
    prepared = PreparedParameter(kind.source.resource_id.replace("SOURCE", mark[0]), mark[1]) if mark else None
    with pytest.raises(NotYet) as refused:
        decide(settings(phase="restore"), kind.seen(prepared_parameter=prepared))
    assert "encryptdb prepare --stack orders-prod" in refused.value.hint
    assert refused.value.status == 3


def cluster(**changes: Any) -> Cluster:
    return dataclasses.replace(SOURCE_CLUSTER, **changes)


RDS_ARN = "arn:aws:rds:eu-central-1:111122223333:db:orders-rds"
CLUSTER_ARN = "arn:aws:rds:eu-west-1:111122223333:cluster:orders"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (cluster(global_cluster="orders-world"), "orders-world"),
        (cluster(engine_mode="global"), "Global Database"),
        (cluster(engine_mode="serverless"), "Serverless v1"),
        (cluster(scalability="limitless"), "Limitless"),
        (cluster(engine="postgres"), "Multi-AZ DB cluster"),
        (cluster(engine="aurora-mysql"), "aurora-mysql"),
        (cluster(engine="neptune"), "neptune"),
        (cluster(members=()), "no instance"),
        (cluster(replica_of=RDS_ARN), "the LSNs of RDS and of Aurora have nothing in common"),
        (cluster(replica_of=CLUSTER_ARN), CLUSTER_ARN),
        (member_of("orders-prod", 1), "an instance of the cluster orders-prod"),
        (member_of("orders-prod", 2, engine="postgres"), "an instance of the cluster orders-prod"),
    ],
)
def test_a_source_that_cannot_be_encrypted_here_is_refused_with_the_reason(source: Database, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decide(settings(), AURORA.seen(source=source))
    assert refused.value.key == "encryptdb:source"
    assert reason in refused.value.message
    assert refused.value.hint


def test_an_instance_of_a_cluster_is_refused_with_the_name_of_the_cluster_to_set() -> None:
    with pytest.raises(ConfigError) as refused:
        decide(settings(source="orders-prod-1"), AURORA.seen(source=member_of("orders-prod", 1)))
    assert "pulumi config set encryptdb:source orders-prod --stack orders-prod" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("key", "config", "world"),
    [
        ("multiAz", Overrides(multi_az=True), AURORA.seen()),
        ("multiAz", Overrides(multi_az=False), AURORA.seen()),
        ("publiclyAccessible", Overrides(publicly_accessible=True), AURORA.seen()),
        (
            "publiclyAccessible",
            Overrides(publicly_accessible=True),
            AURORA.seen(
                source=cluster(
                    members=(member_of("orders-prod", 1, publicly_accessible=True), member_of("orders-prod", 2))
                )
            ),
        ),
        ("targetIdentifier", Overrides(target_identifier="orders-prod"), AURORA.seen()),
        ("targetIdentifier", Overrides(target_identifier="o" * 62), AURORA.seen()),
        (
            "targetIdentifier",
            Overrides(target_identifier="orders-new"),
            AURORA.seen(identifiers=frozenset({"orders-new-2"})),
        ),
        ("targetIdentifier", Overrides(target_identifier="orders-new"), AURORA.restored()),
        ("subnetGroup", Overrides(subnet_group="another"), AURORA.restored()),
    ],
)
def test_config_that_a_cluster_cannot_follow_names_the_key(key: str, config: Overrides, world: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        decide(settings(phase="restore", overrides=config), world)
    assert refused.value.key == f"encryptdb:{key}"
    assert refused.value.hint


def test_rds_does_not_become_aurora_nor_the_reverse() -> None:
    common = "have nothing in common"
    chosen = Overrides(target_identifier="lake")
    with pytest.raises(ConfigError, match=common) as refused:
        decide(settings(overrides=chosen), RDS.seen(cluster_identifiers=frozenset({"lake"})))
    assert refused.value.key == "encryptdb:targetIdentifier"
    with pytest.raises(ConfigError, match=common) as refused:
        decide(settings(overrides=chosen), AURORA.seen(identifiers=frozenset({"lake"})))
    assert refused.value.key == "encryptdb:targetIdentifier"


@pytest.mark.parametrize(("source", "made"), [(RDS, AURORA), (AURORA, RDS)], ids=["rds-aurora", "aurora-rds"])
def test_a_stack_that_made_a_target_of_one_engine_takes_no_source_of_the_other(source: Kind, made: Kind) -> None:
    with pytest.raises(ConfigError, match="have nothing in common") as refused:
        decide(settings(attempt=2), source.seen(targets={1: made.target_of(1)}))
    assert refused.value.key == "encryptdb:source"


def test_a_target_cluster_without_instances_and_without_source_is_not_guessed_at() -> None:
    bare = dataclasses.replace(target_cluster_of(1), members=())
    with pytest.raises(Refused) as refused:
        decide(
            settings(phase="retire"), AURORA.restored(targets={1: bare}, source=None, prepared_parameter=None, key=None)
        )
    assert "no instance left" in refused.value.message


def test_a_name_that_means_an_instance_and_a_cluster_is_not_guessed_at() -> None:
    with pytest.raises(ConfigError) as refused:
        find_source("orders-prod", (SOURCE_CLUSTER, SOURCE_INSTANCE), None, None)
    assert refused.value.key == "encryptdb:source"


def test_a_cluster_and_its_own_instance_of_one_name_mean_the_cluster() -> None:
    writer = member_of("orders-prod", 1, identifier="orders-prod")
    assert find_source("orders-prod", (SOURCE_CLUSTER, writer), None, None) is SOURCE_CLUSTER
    assert find_source("orders-prod-2", (SOURCE_CLUSTER, member_of("orders-prod", 2)), None, None) is not None


def test_no_retirement_while_replication_still_needs_the_link(kind: Kind) -> None:
    with pytest.raises(NotYet) as refused:
        decide(settings(phase="retire"), kind.restored(source=None, key=None))
    assert "encryptdb retire" in refused.value.hint


@pytest.mark.parametrize("text", ["", "[]", '{"attempt": 1}', '{"source_resource_id": "db-1", "attempt": "x"}'])
def test_an_unreadable_mark_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(Refused):
        PreparedParameter.parse("orders-prod", text)


def test_every_refusal_ends_a_pulumi_program_plainly() -> None:
    problems = (ConfigError("phase", "it is wrong.", "do this"), NotYet("it is wrong.", detail="So.", hint="do this"))
    for problem in problems:
        with pytest.raises(pulumi.RunError, match="it is wrong") as ended, plainly():
            raise problem
        assert "What to do: do this" in str(ended.value)
        assert isinstance(ended.value.__cause__, Problem)


def test_the_name_finds_the_source_before_anything_was_made_from_it() -> None:
    assert find_source("orders-prod", (SOURCE_INSTANCE,), None, None) is SOURCE_INSTANCE


def test_a_renamed_source_is_found_by_the_resource_id_in_the_mark() -> None:
    renamed = dataclasses.replace(SOURCE_INSTANCE, identifier="orders-old")
    assert find_source("orders-prod", (renamed,), None, PreparedParameter("db-SOURCE", 1)) is renamed


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


@pytest.mark.parametrize("window", ["7d", "36h", "90m", "2w", "none"])
def test_windows_are_durations(window: str) -> None:
    assert configured(source="orders-prod", rollbackWindow=window).rollback_window == window
