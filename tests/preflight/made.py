"""Facts made by hand: a world that nothing is wrong with, to be changed in one place."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from encryptdb.controller.observed_server import Database, DatabaseObjects, ObservedServer
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.slots import Slot
from encryptdb.controller.preflight.check import Finding
from encryptdb.controller.preflight.checks import CHECKS
from encryptdb.controller.preflight.checks.activity import CRON_JOBS, SESSION_SETTINGS, SessionSettings
from encryptdb.controller.preflight.checks.cloud import CLOUD, CloudFacts
from encryptdb.controller.preflight.checks.databases import LARGE_OBJECTS, RIGHTS, LargeObjects, Rights
from encryptdb.controller.preflight.checks.roles import ROLE, Role
from encryptdb.controller.preflight.checks.servers import AURORA, SESSION, Session
from encryptdb.controller.preflight.checks.storage import WAL, Wal
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, Stage
from encryptdb.controller.preflight.report import Report, evaluate
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


def clean(per: str) -> dict[Reading[Any], Any]:
    """What the readings of a world say that nothing is wrong with: most of them list what is."""
    reads = {r for check in CHECKS for r in check.reads if r.per == per}
    return {r: None if r.name.startswith("probe") else () for r in reads}


IN_DATABASE = clean("database") | {
    LARGE_OBJECTS: LargeObjects(0, 0, 0),
    CRON_JOBS: None,
    SESSION_SETTINGS: SessionSettings(partman=False, audit="", track=None, track_utility=None),
}


def database(readings: Mapping[Reading[Any], Any] | None = None, **changes: Any) -> DatabaseFacts:
    """A database with nothing in it, in which everything is allowed, with changes."""
    observed = Database(oid=16384, name="shop", owner="owner", allow_connections=True, template=False, bytes=8 << 20)
    plain = DatabaseFacts(observed, DatabaseObjects((), False, True), readings=IN_DATABASE | dict(readings or {}))
    return replace(plain, **changes)


ROLE_ON_RDS = Role(
    name=CONTROLLER,
    inherit=True,
    create_database=True,
    may_replicate=True,
    may_signal=True,
    may_see=True,
    may_read_settings=True,
    rds=True,
)

OBSERVED = ObservedServer(
    settings=SETTINGS,
    databases=(database().observed,),
    slots={},
    subscriptions={},
    records=None,
    current_lsn=LSN(0),
    replication_role=False,
    prepared_transactions=(),
)


def slot(name: str, **changes: Any) -> Slot:
    return replace(Slot(name, "shop", "pgoutput", False, None, None, None, "reserved", None), **changes)


def server(
    settings: Mapping[str, str] | None = None, readings: Mapping[Reading[Any], Any] | None = None, **changes: Any
) -> ServerFacts:
    """A server that nothing is wrong with; `changes` are of what was observed, or of the server's facts."""
    observed = {
        k: changes.pop(k) for k in list(changes) if k in ObservedServer.__dataclass_fields__ and k != "observed"
    }
    plain = ServerFacts(
        side="source",
        user=CONTROLLER,
        observed=replace(OBSERVED, settings=SETTINGS | dict(settings or {}), **observed),
        moving=(database(),),
        readings=clean("server")
        | {
            SESSION: Session(in_recovery=False, tls=True, connections=5, senders=[], workers=1),
            AURORA: False,
            ROLE: ROLE_ON_RDS,
            RIGHTS: (Rights(16384, True, True, False),),
        }
        | dict(readings or {}),
    )
    return replace(plain, **changes)


def changed_on(source: ServerFacts, **changes: Any) -> ServerFacts:
    """The same server, with something else observed."""
    return replace(source, observed=replace(source.observed, **changes))


def changed_inside(source: ServerFacts, readings: Mapping[Reading[Any], Any]) -> ServerFacts:
    """The same server, with other readings of its first database."""
    first = source.moving[0]
    return replace(source, moving=(replace(first, readings={**first.readings, **readings}), *source.moving[1:]))


TARGET = Side("shop-encrypted", "db-TARGET", "127.0.0.1", 5432)
ENCRYPTED = instance(identifier="shop-encrypted", resource_id="db-TARGET", encrypted=True, kms_key_arn=KEY)


def facts(*, cloud: CloudFacts | None = cloud(), wal: Wal | None = Wal(1.0, None), **changes: Any) -> Facts:  # noqa: B008
    """Everything, and nothing wrong with it."""
    readings = {k: v for k, v in ((CLOUD, cloud), (WAL, wal)) if v is not None}
    plain = Facts(outputs(), NAMES, Stage.UNPREPARED, server(), None, {}, readings=readings)
    return replace(plain, **changes)


def judged(**changes: Any) -> Report:
    """What all checks say of these facts."""
    report = evaluate(facts(**changes), CHECKS)
    well_formed(report)
    return report


COMMAND = re.compile(
    r"(SELECT|ALTER|CREATE|DROP|GRANT|REFRESH|ROLLBACK|UPDATE|CALL|aws|pulumi|encryptdb|pip|unset|export)\b|-- "
)


def well_formed(report: Report) -> None:
    """Every finding has an id of its own, and a remedy that can be pasted."""
    ids = [f.id for f in report.findings]
    assert len(set(ids)) == len(ids), ids
    for finding in report.findings:
        assert finding.found.endswith(".") and finding.needed.endswith("."), finding
        if finding.severity in ("blocks", "warns") and finding.check not in ("reachable", "readable"):
            assert finding.remedy is not None, finding
            assert all(COMMAND.match(line) for line in finding.remedy.splitlines()), finding.remedy


def findings(check: str, **changes: Any) -> tuple[Finding, ...]:
    """What one check says of these facts."""
    return tuple(f for f in judged(**changes).findings if f.check == check)


def finding(check: str, **changes: Any) -> Finding:
    """The one thing that a check says."""
    found = findings(check, **changes)
    assert len(found) == 1, f"expected one finding of {check}: {[str(f) for f in found]}"
    return found[0]


OPENED = Records(open=Open(1, datetime(2024, 4, 27, 12, 0, tzinfo=UTC), "target", True, {}, {}))
"""Of a target that was opened by a cutover."""
