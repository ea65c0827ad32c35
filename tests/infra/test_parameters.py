"""What goes into the parameter groups, and what everything is called."""

import pytest

from encryptdb.stacks.cloud.reads import Parameter
from encryptdb.stacks.contract.names import IDENTIFIER_LENGTH, Names, slug
from encryptdb.stacks.parameters import (
    AT_LEAST,
    as_it_is,
    at_least,
    family,
    for_source,
    for_target,
    from_tag,
    quieted,
    to_tag,
)
from encryptdb.stacks.plan import decide
from tests.infra.worlds import PARAMETERS, restored, seen, settings


def attached(group: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """The group made here, as AWS shows it once the source uses it: no trace of what it came from."""
    return tuple(Parameter(s.name, s.value, s.static, user=True) for s in for_source(group))


def test_the_source_keeps_its_own_settings() -> None:
    settings = {s.name: s for s in for_source(PARAMETERS)}
    assert (settings["work_mem"].value, settings["work_mem"].apply_method) == ("8192", "immediate")
    assert settings["max_worker_processes"].value == "64"


def test_logical_replication_and_commit_timestamps_are_switched_on_at_the_next_reboot() -> None:
    settings = {s.name: s for s in for_source(())}
    for name in ("rds.logical_replication", "track_commit_timestamp"):
        assert (settings[name].value, settings[name].apply_method) == ("1", "pending-reboot")


def test_there_are_slots_senders_and_workers_enough() -> None:
    settings = {s.name: s.value for s in for_source(())}
    assert {n: int(settings[n]) for n in AT_LEAST} == AT_LEAST
    # Every slot that is read has a sender, and a worker more than parallel queries take.
    assert AT_LEAST["max_wal_senders"] >= AT_LEAST["max_replication_slots"]
    assert AT_LEAST["max_worker_processes"] > AT_LEAST["max_logical_replication_workers"]


def test_the_same_group_comes_out_once_it_is_attached() -> None:
    assert for_source(attached(PARAMETERS)) == for_source(PARAMETERS)


@pytest.mark.parametrize(
    ("value", "raised"),
    [
        (None, "30"),
        ("20", "30"),
        ("100", "100"),
        ("GREATEST({DBInstanceVCPU*2},8)", "GREATEST({DBInstanceVCPU*2},30)"),
        ("GREATEST({DBInstanceVCPU*2},64)", "GREATEST({DBInstanceVCPU*2},64)"),
        ("{DBInstanceVCPU}", "GREATEST({DBInstanceVCPU},30)"),
    ],
)
def test_nothing_is_ever_lowered(value: str | None, raised: str) -> None:
    assert at_least(value, 30) == raised


def test_statements_with_passwords_are_not_logged_on_the_target_until_it_is_retired() -> None:
    loud = (
        Parameter("log_statement", "ddl", static=False, user=True),
        Parameter("log_min_duration_statement", "0", static=False, user=True),
    )
    on_target = {s.name: s.value for s in for_target(for_source(loud))}
    assert on_target["log_statement"] == "none"
    assert on_target["log_min_duration_statement"] == "-1"

    kept = to_tag(quieted(for_source(loud)))
    group = (Parameter("log_statement", "none", static=False, user=True),)
    world = restored(
        source=None,
        key=None,
        prepared_parameter=None,
        own_target_group=group,
        own_target_group_tags={"encryptdb:quieted": kept},
    )
    plan = decide(settings(phase="retire"), world)
    assert plan.target_group is not None
    retired = {s.name: s.value for s in plan.target_group.settings}
    assert retired == {"log_statement": "ddl", "log_min_duration_statement": "0"}


def test_a_quiet_source_leaves_nothing_to_give_back() -> None:
    assert quieted(for_source(PARAMETERS)) == {}
    assert from_tag("") == {}


def test_once_there_is_a_target_its_group_changes_with_the_source_no_more() -> None:
    louder = (*PARAMETERS, Parameter("work_mem", "999999", static=False, user=True))
    plan = decide(settings(phase="restore"), restored(source_parameters=louder))
    assert plan.target_group is not None
    assert [s.value for s in plan.target_group.settings if s.name == "work_mem"] == ["8192"]


def test_a_group_as_it_is_holds_what_somebody_set() -> None:
    assert [s.name for s in as_it_is(PARAMETERS)] == ["max_worker_processes", "work_mem"]


@pytest.mark.parametrize(
    ("engine", "version", "name"),
    [
        ("postgres", "15.7", "postgres15"),
        ("postgres", "9.6.24", "postgres9.6"),
        ("postgres", "18", "postgres18"),
        ("postgres", "10.1", "postgres10"),
        ("aurora-postgresql", "15.4", "aurora-postgresql15"),
    ],
)
def test_the_family_is_the_engine_and_its_major_version(engine: str, version: str, name: str) -> None:
    assert family(engine, version) == name


def test_an_attempt_meets_nothing_of_another() -> None:
    first, second = Names("orders-prod", 1), Names("orders-prod", 2)
    for name in ("snapshot", "encrypted_snapshot"):
        assert getattr(first, name) != getattr(second, name)
    assert first.target("orders-prod") != second.target("orders-prod")
    assert first.source_group == second.source_group


@pytest.mark.parametrize("source", ["o" * 63, "o" * 50 + "-x" + "o" * 11, "orders-prod"])
@pytest.mark.parametrize("attempt", [1, 1234])
def test_the_targets_name_is_one_that_rds_accepts(source: str, attempt: int) -> None:
    name = Names("s", attempt).target(source)
    assert len(name) <= IDENTIFIER_LENGTH
    assert name.endswith(f"-encrypted-{attempt}")
    assert "--" not in name


def test_two_stacks_never_share_a_name() -> None:
    names = ["a.b", "a-b", "a_b", "A-B", "a--b", "x" * 80, "x" * 81, "-", "_"]
    assert len({slug(n) for n in names}) == len(names)
    assert slug("orders-prod") == "orders-prod"


def test_prepare_reads_the_group_the_source_uses() -> None:
    plan = decide(settings(), seen())
    assert plan.source_group is not None
    assert plan.source_group.name == "encryptdb-orders-prod-source"
    assert plan.source_group.family == "postgres15"
