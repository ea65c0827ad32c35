"""Facts made by hand: a world that nothing is wrong with, to be changed in one place."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.preflight.checks import evaluate
from encryptdb.controller.preflight.contents import Contents, Database
from encryptdb.controller.preflight.facts import CloudFacts, Counts, Facts, Role, ServerFacts, Stage, Wal
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.records import Open, Records
from encryptdb.stacks.cloud.database import Instance
from encryptdb.stacks.contract.outputs import Outputs, Side

CONTROLLER = "controller"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
NAMES = Names.of("shop-prod")

GOOD_GROUP: dict[str, str] = {"rds.logical_replication": "1", "track_commit_timestamp": "1"}


def outputs(**changes: Any) -> Outputs:
    """The outputs of the stack shop-prod after its phase `prepare`, with changes."""
    plain = Outputs(
        contract=1,
        stack="shop-prod",
        phase="prepare",
        attempt=1,
        engine="postgres",
        region="eu-central-1",
        account="123456789012",
        source=Side("shop", "db-SOURCE", "127.0.0.1", 5432),
        target=None,
        kms_key_arn=KEY,
        snapshot_arn=None,
        source_parameter_group="shop-source",
        target_parameter_group=None,
    )
    return replace(plain, **changes)


def instance(**changes: Any) -> Instance:
    """An RDS instance that nothing is wrong with, with changes."""
    plain = Instance(
        identifier="shop",
        resource_id="db-SOURCE",
        status="available",
        host="127.0.0.1",
        port=5432,
        engine="postgres",
        engine_version="15.18",
        encrypted=False,
        kms_key_arn=None,
        parameter_group="shop-source",
        parameter_status="in-sync",
        allocated_bytes=100 << 30,
    )
    return replace(plain, **changes)


def cloud(**changes: Any) -> CloudFacts:
    plain = CloudFacts(source=instance(), target=None, groups={"shop-source": dict(GOOD_GROUP)}, free_bytes=80 << 30)
    return replace(plain, **changes)


SETTINGS = {
    "server_version_num": "150018",
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_worker_processes": "20",
    "max_logical_replication_workers": "20",
    "max_slot_wal_keep_size": "-1",
    "max_prepared_transactions": "0",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "shared_preload_libraries": "",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "ssl": "on",
}


def contents(**changes: Any) -> Contents:
    """A database with nothing in it, in which everything may be done."""
    plain = Contents(
        tables=(),
        things=(),
        large_objects=0,
        large_objects_sum=0,
        large_objects_written=0,
        publications=(),
        heartbeat=False,
        foreign_schema=False,
        cron_jobs=None,
        partman=False,
        audit=None,
        statements=None,
        statements_utility=None,
        statements_loaded=False,
        probes={},
    )
    return replace(plain, **changes)


def database(**changes: Any) -> Database:
    plain = Database(
        oid=16384,
        name="shop",
        owner="owner",
        owned=True,
        connect=True,
        allow_connections=True,
        template=False,
        bytes=8 << 20,
        read_only=False,
        moves=True,
        contents=contents(),
    )
    return replace(plain, **changes)


def server(settings: Mapping[str, str] | None = None, **changes: Any) -> ServerFacts:
    """A server that nothing is wrong with, with changes."""
    role = Role(
        name=CONTROLLER,
        superuser=False,
        inherit=True,
        create_database=True,
        may_replicate=True,
        may_signal=True,
        may_see=True,
        may_read_settings=True,
        tls=True,
        rds=True,
    )
    plain = ServerFacts(
        side="source",
        settings=SETTINGS | dict(settings or {}),
        role=role,
        in_recovery=False,
        engine="postgres",
        databases=(database(),),
        slots=(),
        subscriptions=(),
        prepared=(),
        writers=(),
        role_users=(),
        counts=Counts(connections=5, senders=0, workers=1),
        wal=Wal(1.0, None),
        probes={},
        records=None,
    )
    return replace(plain, **changes)


TARGET = Side("shop-encrypted", "db-TARGET", "127.0.0.1", 5432)
ENCRYPTED = instance(identifier="shop-encrypted", resource_id="db-TARGET", encrypted=True, kms_key_arn=KEY)


def facts(**changes: Any) -> Facts:
    """Everything, and nothing wrong with it."""
    plain = Facts(outputs(), NAMES, Stage.UNPREPARED, server(), None, cloud())
    return replace(plain, **changes)


def findings(check: str, **changes: Any) -> tuple[Finding, ...]:
    """What one check says of these facts."""
    return tuple(f for f in evaluate(facts(**changes)).findings if f.name == check)


def finding(check: str, **changes: Any) -> Finding:
    """The one thing that a check says."""
    found = findings(check, **changes)
    assert len(found) == 1, f"expected one finding of {check}: {[str(f) for f in found]}"
    return found[0]


OPENED = Records(open=Open(1, datetime(2024, 4, 27, 12, 0, tzinfo=UTC), "target", True, {}, {}))
"""Of a target that was opened by a cutover."""
