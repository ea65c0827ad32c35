"""Decisions on facts made by hand: settings, room, encryption, state, storage."""

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest

from encryptdb.controller.preflight.checks import CHECKS, SUBJECTS
from encryptdb.controller.preflight.checks.activity import CRON_JOBS, SESSION_SETTINGS, SessionSettings
from encryptdb.controller.preflight.checks.cloud import CloudFacts
from encryptdb.controller.preflight.checks.servers import AURORA, SESSION
from encryptdb.controller.preflight.checks.storage import Wal
from encryptdb.controller.preflight.checks.surroundings import WRITERS, Writer
from encryptdb.controller.preflight.facts import STAGE_OF, Stage, stage
from encryptdb.controller.preflight.text import duration, ident, listed, literal, size
from encryptdb.controller.state import State
from encryptdb.stacks.cloud.database import Cluster, Instance
from encryptdb.stacks.contract.outputs import Side
from tests.preflight.made import (
    ENCRYPTED,
    GOOD_GROUP,
    KEY,
    NAMES,
    TARGET,
    cloud,
    database,
    finding,
    findings,
    instance,
    judged,
    outputs,
    server,
    slot,
)


def test_a_good_world_passes_every_check() -> None:
    report = judged()
    assert [str(f) for f in report.findings if f.severity != "ok"] == []
    asked = {check.id for check in CHECKS if check.applies(Stage.UNPREPARED)}
    assert set(report.passed) == asked - {"databases"}
    assert report.unavailable == ()
    report.raise_if_blocked()


def test_what_is_checked_follows_the_state() -> None:
    """`retire` takes down both control databases, `abandon` the source's: neither is taken for a broken migration."""
    restored = outputs(phase="restore", target=TARGET)
    assert stage(outputs(), State.NOT_PREPARED) == stage(restored, State.ABANDONED) == Stage.UNPREPARED
    assert stage(outputs(), State.PREPARED) == Stage.PREPARED
    assert {stage(restored, s) for s in (State.RESTORED, State.MOVING, State.UNKNOWN)} == {Stage.RESTORED}
    assert {stage(restored, s) for s in (State.OPEN, State.ROLLED_BACK, State.RETIRED)} == {Stage.OPEN}
    assert stage(outputs(phase="retire", target=TARGET), State.UNKNOWN) == Stage.OPEN
    assert set(STAGE_OF) == set(State)


def test_a_connection_without_tls_warns() -> None:
    plain = server()
    session = replace(plain[SESSION], tls=False)
    assert finding("tls", source=server(readings={SESSION: session})).severity == "warns"
    assert finding("tls", source=server({"ssl": "off"})).severity == "warns"


def test_logical_decoding_that_is_off_warns_of_the_reboot_and_blocks_once_it_was_on() -> None:
    source = server({"wal_level": "replica", "track_commit_timestamp": "off"})
    early = finding("logical-decoding", source=source)
    assert (early.severity, "--allow-reboot" in (early.remedy or "")) == ("warns", True)
    late = finding("logical-decoding", source=source, stage=Stage.PREPARED)
    assert (late.severity, "shop-source" in (late.remedy or "")) == ("blocks", True)


ROOM = {
    "max_replication_slots": "1",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_worker_processes": "1",
}


@pytest.mark.parametrize("setting", ROOM)
def test_too_little_room_blocks_unless_the_coming_parameter_group_makes_it(setting: str) -> None:
    source = server({setting: ROOM[setting]})
    blocked = finding("room", source=source)
    assert blocked.severity == "blocks"
    assert f"ParameterName={setting},ParameterValue=" in (blocked.remedy or "")
    coming = cloud(groups={"shop-source": GOOD_GROUP | {setting: "20"}})
    assert finding("room", source=source, cloud=coming).severity == "warns"
    assert finding("room", source=source, cloud=coming, stage=Stage.PREPARED).severity == "blocks"


def test_from_18_on_origins_have_a_setting_of_their_own() -> None:
    newer = {"server_version_num": "180001", "max_active_replication_origins": "0"}
    assert "max_active_replication_origins" in finding("room", source=server(newer)).found


def test_slots_of_others_count_and_our_own_do_not() -> None:
    slots = {name: slot(name) for name in ("debezium", NAMES.slot(16384))}
    enough, short = (server({"max_replication_slots": n}, slots=slots) for n in ("3", "2"))
    assert findings("room", source=enough, stage=Stage.PREPARED) == ()
    assert finding("room", source=short, stage=Stage.PREPARED).severity == "blocks"


def test_few_free_connections_warn() -> None:
    assert finding("connections", source=server({"max_connections": "12"})).severity == "warns"


@pytest.mark.parametrize("version", ["120022", "190000"])
def test_an_unknown_major_blocks(version: str) -> None:
    settings = {"server_version_num": version, "max_active_replication_origins": "10"}
    assert finding("version", source=server(settings)).severity == "blocks"


def test_different_majors_block() -> None:
    target = server({"server_version_num": "140001"}, side="target")
    assert finding("version", target=target, stage=Stage.RESTORED).severity == "blocks"


def test_aurora_behind_a_stack_for_rds_blocks_and_the_reverse() -> None:
    assert finding("engine", source=server(readings={AURORA: True})).severity == "blocks"
    assert finding("engine", outputs=outputs(engine="aurora-postgresql")).severity == "blocks"


def test_a_replica_blocks() -> None:
    session = replace(server()[SESSION], in_recovery=True)
    assert finding("primary", source=server(readings={SESSION: session})).severity == "blocks"


def test_pg_partman_blocks_with_its_own_worker_and_warns_without() -> None:
    loaded = {"shared_preload_libraries": "pg_partman_bgw"}
    found = finding("partition-worker", source=server(loaded | {"pg_partman_bgw.dbname": "shop"}))
    assert found.severity == "blocks"
    assert findings("partition-worker", source=server(loaded | {"pg_partman_bgw.dbname": ""})) == ()
    installed = {SESSION_SETTINGS: SessionSettings(True, "", None, None)}
    made = server(moving=(database(installed),))
    assert finding("partition-maintenance", source=made).severity == "warns"


def test_jobs_of_pg_cron_that_may_be_hidden_warn() -> None:
    moving = (database({CRON_JOBS: 0}),)
    assert findings("scheduled-jobs", source=server(moving=moving)) == ()
    loaded = server({"shared_preload_libraries": "pg_cron"}, moving=moving)
    assert finding("scheduled-jobs", source=loaded).severity == "warns"


def test_statements_kept_inside_the_server_warn_and_the_plain_logs_are_harmless() -> None:
    kept = database({SESSION_SETTINGS: SessionSettings(False, "", "all", "on")})
    settings = {"log_statement": "ddl", "shared_preload_libraries": "pg_stat_statements"}
    source = server(settings, moving=(kept,))
    assert finding("statement-logs", source=source).severity == "warns"
    assert finding("logged-statements", source=source).severity == "ok"


def test_a_long_transaction_warns() -> None:
    def running(seconds: float) -> dict[Any, Any]:
        return {WRITERS: (Writer(7, "app", "shop", "nightly", seconds),)}

    assert findings("long-transactions", source=server(readings=running(59))) == ()
    found = finding("long-transactions", source=server(readings=running(3600)))
    assert (found.severity, "60 min" in found.found) == ("warns", True)


ENCRYPTION: dict[str, dict[str, Any]] = {
    "not encrypted": {"encrypted": False, "kms_key_arn": None},
    "encrypted by the service": {"encryption_type": "sse-rds"},
    "under another key": {"kms_key_arn": KEY.replace("1111-", "9999-")},
}


@pytest.mark.parametrize("case", ENCRYPTION)
def test_a_target_that_is_not_encrypted_as_asked_blocks(case: str) -> None:
    assert findings("target-encryption", cloud=cloud(target=ENCRYPTED), stage=Stage.RESTORED) == ()
    bad = cloud(target=replace(ENCRYPTED, **ENCRYPTION[case]))
    assert finding("target-encryption", cloud=bad, stage=Stage.RESTORED).severity == "blocks"


@pytest.mark.parametrize(("key", "severity"), [(KEY, "blocks"), (KEY.rsplit("/")[-1], "blocks"), (KEY[:-1], "ok")])
def test_an_encrypted_source_is_re_keyed_unless_it_has_the_key_already(key: str, severity: str) -> None:
    found = finding("source-encryption", cloud=cloud(source=instance(encrypted=True, kms_key_arn=key)))
    assert found.severity == severity


CLOUDS: dict[str, tuple[str, CloudFacts, str]] = {
    "no such instance": ("identity", cloud(source=None), "blocks"),
    "another instance of that name": ("identity", cloud(source=instance(resource_id="db-NEW")), "blocks"),
    "another engine": ("identity", cloud(source=instance(engine="aurora-postgresql")), "blocks"),
    "busy": ("instance-state", cloud(source=instance(status="modifying")), "warns"),
    "a status nobody knows": ("instance-state", cloud(source=instance(status="something-new")), "blocks"),
    "out of order": ("instance-state", cloud(source=instance(status="storage-full")), "blocks"),
    "pending modifications": ("instance-state", cloud(source=instance(pending={"EngineVersion": "15.9"})), "warns"),
    "public target": ("instance-state", cloud(target=replace(ENCRYPTED, publicly_accessible=True)), "warns"),
    "no parameter group": ("parameter-groups", cloud(groups={"shop-source": None}), "blocks"),
    "an owner's group without the settings": (
        "parameter-groups",
        cloud(groups={"shop-source": GOOD_GROUP | {"rds.logical_replication": "0"}}),
        "blocks",
    ),
    "read replicas": ("read-replicas", cloud(source=instance(read_replicas=("shop-read",))), "warns"),
    "a read replica itself": ("eligibility", cloud(source=instance(replica_of="shop-main")), "blocks"),
    "an old version": ("eligibility", cloud(source=instance(engine_version="12.22")), "blocks"),
    "being made": ("eligibility", cloud(source=instance(status="creating", host=None)), "warns"),
    "storage unknown": ("storage", cloud(free_bytes=None, free_unknown="no figure"), "warns"),
}


@pytest.mark.parametrize("case", CLOUDS)
def test_what_aws_says_is_judged(case: str) -> None:
    check, said, severity = CLOUDS[case]
    assert finding(check, cloud=said).severity == severity


def test_storage_is_measured_in_time_at_the_rate_of_wal() -> None:
    mib = 1 << 20

    def lasting(rate: float, said: CloudFacts, **settings: str) -> list[str]:
        found = judged(source=server(settings), cloud=said, wal=Wal(rate, None)).findings
        return [f.severity for f in found if f.check in ("wal-limit", "storage")]

    roomy = cloud(free_bytes=100 << 30)
    assert lasting(1 * mib, roomy) == []
    assert lasting(10 * mib, roomy) == ["warns"]
    assert lasting(1000 * mib, roomy) == ["blocks"]
    grows = cloud(free_bytes=100 << 30, source=instance(max_allocated_bytes=10_000 << 30))
    assert lasting(10 * mib, grows) == []
    # 1,000 MB of kept WAL: gone in 1,000 s, or in 10.
    assert lasting(1 * mib, roomy, max_slot_wal_keep_size="1000") == ["warns"]
    assert lasting(100 * mib, roomy, max_slot_wal_keep_size="1000") == ["blocks", "warns"]
    assert lasting(0, cloud(free_bytes=0)) == []


def test_a_quiet_second_in_a_busy_day_promises_nothing() -> None:
    assert Wal(0.0, 1000.0).rate == Wal(1000.0, 0.0).rate == 1000.0


def test_names_and_numbers_are_put_for_pasting_and_reading() -> None:
    assert ident('a"b', "c") == '"a""b"."c"'
    assert literal("it's") == "'it''s'"
    assert listed(str(n) for n in range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert (size(512), size(3 << 30)) == ("512 bytes", "3.0 GiB")
    assert (duration(40), duration(700), duration(12_600), duration(345_600)) == ("40 s", "12 min", "3.5 h", "4.0 days")


def test_every_check_has_an_id_of_its_own_words_and_what_it_reads() -> None:
    assert len({c.id for c in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.title and check.strategies, check.id
        assert len(check.title) < 120, check.id


def test_the_severities_of_a_check_are_those_that_it_gives() -> None:
    for module in SUBJECTS.values():
        source = inspect.getsource(module)
        helpers = dict(re.findall(r"def (_\w+)\(.*?\n(.*?)(?=\n\n\n|\Z)", source, re.DOTALL))
        for check in (c for c in vars(module).values() if c in CHECKS):
            text = inspect.getsource(check.decision)
            text = text[text.index(") -> Findings:") :].replace(check.decision.__doc__ or "", "")
            text += "".join(body for name, body in helpers.items() if f"{name}(" in text)
            given = set(re.findall(r"\b(blocks|warns|ok|unavailable)\b", text))
            assert given == set(re.findall(r"\b(blocks|warns|ok|unavailable)\b", check.severity)), check.id


# Aurora: the same checks, what a cluster has instead of an instance.

CLUSTER_SIDE = Side("shop", "cluster-SOURCE", "shop.cluster", 5432, members=("shop-1", "shop-2"))


def member(name: str, **changes: Any) -> Instance:
    plain = instance(identifier=name, writer=name.endswith("-1"), host=f"{name}.example", member_of="shop")
    return replace(plain, **changes)


def cluster(**changes: Any) -> Cluster:
    """The source, or a target, as a cluster that nothing is wrong with."""
    alike = {"identifier": "shop", "resource_id": "cluster-SOURCE", "host": "shop.cluster", "port": 5432}
    more = {"engine": "aurora-postgresql", "engine_version": "15.4", "status": "available", "encrypted": False}
    rest = {"kms_key_arn": None, "parameter_group": "shop-source", "parameter_status": "in-sync"}
    return Cluster(**alike | more | rest | {"members": (member("shop-1"), member("shop-2"))} | changes)


def cluster_facts(**changes: Any) -> dict[str, Any]:
    """What is not as the facts of an instance, where nothing is wrong with a cluster."""
    plain = {
        "outputs": outputs(engine="aurora-postgresql", source=CLUSTER_SIDE),
        "source": server(readings={AURORA: True}),
        "cloud": cloud(source=cluster(), free_bytes=None),
    }
    return plain | changes


def test_a_cluster_that_nothing_is_wrong_with() -> None:
    assert [str(f) for f in judged(**cluster_facts()).findings if f.severity != "ok"] == []


def test_a_volume_that_grows_by_itself_is_no_finding_but_a_limit_of_slots_is() -> None:
    limited = server({"max_slot_wal_keep_size": "1000"}, readings={AURORA: True})
    found = finding("wal-limit", **cluster_facts(source=limited, wal=Wal(None, None)))
    assert found.severity == "warns"
    assert "not known" in found.found
    full = finding("wal-limit", **cluster_facts(source=limited, wal=Wal(float(10 << 20), None)))
    assert full.severity == "blocks"


def test_remedies_for_a_cluster_name_the_cluster_its_group_and_its_writer() -> None:
    off = server({"wal_level": "replica"}, readings={AURORA: True})
    remedy = finding("logical-decoding", **cluster_facts(source=off), stage=Stage.PREPARED).remedy or ""
    assert "modify-db-cluster --db-cluster-identifier shop" in remedy
    assert "--db-cluster-parameter-group-name shop-source" in remedy
    assert "reboot-db-instance --db-instance-identifier shop-1" in remedy


def test_fewer_readers_on_the_target_are_told() -> None:
    plain = cluster_facts()
    encrypted = {"identifier": "shop-encrypted", "resource_id": "db-TARGET", "encrypted": True, "kms_key_arn": KEY}
    target = cluster(**encrypted, members=(member("shop-encrypted-1"),))
    given = plain | {
        "outputs": replace(plain["outputs"], target=TARGET),
        "cloud": replace(plain["cloud"], target=target),
        "target": server(side="target", readings={AURORA: True}),
        "stage": Stage.RESTORED,
    }
    assert "0 readers, the source has 1" in finding("readers", **given).found
    whole = replace(target, members=(member("shop-encrypted-1"), member("shop-encrypted-2")))
    assert findings("readers", **given | {"cloud": replace(plain["cloud"], target=whole)}) == ()


def test_a_cluster_of_which_a_member_is_rebooting_warns() -> None:
    members = (member("shop-1"), member("shop-2", status="rebooting"))
    rebooting = cloud(source=cluster(members=members), free_bytes=None)
    assert finding("instance-state", **cluster_facts(cloud=rebooting)).severity == "warns"
