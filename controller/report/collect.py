"""Collects the report's data from both control databases and AWS. What cannot be read is listed as a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from encryptdb.controller import leftovers, permissions
from encryptdb.controller.document import standing
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import as_json
from encryptdb.controller.records import Records
from encryptdb.controller.state import Standing, State
from encryptdb.stacks.contract.errors import Problem
from encryptdb.stacks.contract.outputs import Side

Data = dict[str, Any]


@dataclass(frozen=True)
class _Side:
    """The content of one server's control database; empty if it is missing or cannot be read."""

    records: Records
    journal: list[Data]


def collect(m: Migration, observed: Observed, found: Standing | None = None) -> Data:
    """Everything the report shows, as JSON. `found` is the state to show, if not the one observed. An unavailable
    server or AWS is reported in it, not raised."""
    problems: list[Data] = []
    sides = {server.side: _read(server, problems) for server in m.sides()}
    source, target = sides["source"], sides.get("target", _Side(Records(), []))
    found = found or standing(m, observed)
    serves = found.serves
    # If both sides have a record, the serving side's counts.
    in_order = (target.records, source.records) if serves == "source" else (source.records, target.records)
    records = {record.key: record for side in in_order for record in side}
    return {
        "version": 1,
        "at": datetime.now(UTC).isoformat(),
        "by": control.who(),
        "stack": m.outputs.stack,
        "attempt": m.outputs.attempt,
        "phase": m.outputs.phase,
        "engine": m.outputs.engine,
        "region": m.outputs.region,
        "account": m.outputs.account,
        "kms_key_arn": m.outputs.kms_key_arn,
        "snapshot_arn": m.outputs.snapshot_arn,
        "state": found.state,
        "summary": found.reason or permissions.row(found).summary,
        "serves": serves,
        "evidence_at": datetime.now(UTC).isoformat() if records else None,
        "instances": {
            "source": _instance(m, m.outputs.source, problems),
            "target": _instance(m, m.outputs.target, problems) if m.outputs.target else None,
        },
        "records": {key: as_json(record) for key, record in records.items() if record.reported},
        "journal": _merged(source.journal, target.journal),
        "leftovers": _leftovers(m, problems) if found.state in (State.OPEN, State.ROLLED_BACK, State.RETIRED) else None,
        "problems": problems,
    }


def _read(server: Server, problems: list[Data]) -> _Side:
    try:
        records = control.records(server)
        if not records:
            return _Side(Records(), [])
        journal = control.journal(server)
    except Problem as problem:
        problems.append({"what": f"the {server.side}'s control database"} | _said(problem))
        return _Side(Records(), [])
    lines = [
        {"at": at.astimezone(UTC).isoformat(), "who": who, "event": event, "detail": detail}
        for at, who, event, detail in journal
    ]
    return _Side(records, lines)


def _merged(source: list[Data], target: list[Data]) -> list[Data]:
    """One journal in order of time: each side has lines of the other, from the snapshot and the cutover."""
    seen = {(line["at"], line["event"]) for line in source}
    return sorted(
        source + [line for line in target if (line["at"], line["event"]) not in seen], key=lambda line: str(line["at"])
    )


def _instance(m: Migration, side: Side, problems: list[Data]) -> Data | None:
    """One side as AWS describes it."""
    try:
        found = m.engine.find(side.identifier)
        if found is None or found.resource_id != side.resource_id:
            # Renamed by the owner, perhaps to hand its name to the target: the resource id stays.
            found = m.engine.find_by_resource_id(side.resource_id)
    except Problem as problem:
        problems.append({"what": f"AWS about {side.identifier}"} | _said(problem))
        return {"identifier": side.identifier, "resource_id": side.resource_id, "known": False}
    if found is None:
        return {"identifier": side.identifier, "resource_id": side.resource_id, "known": True, "status": "gone"}
    return {
        "identifier": found.identifier,
        "resource_id": found.resource_id,
        "known": True,
        "status": found.overall_status,
        "engine_version": found.engine_version,
        "encrypted": found.encrypted,
        "encryption_type": found.encryption_type,
        "kms_key_arn": found.kms_key_arn,
        "deletion_protection": found.deletion_protection,
        "members": [
            {"identifier": i.identifier, "role": "writer" if i.writer else "reader", "status": i.status}
            for i in found.members
        ],
        "created": found.created.astimezone(UTC).isoformat() if found.created else None,
    }


def _leftovers(m: Migration, problems: list[Data]) -> list[Mapping[str, str]] | None:
    try:
        return [item.as_json() for item in leftovers.find(m)]
    except Problem as problem:
        problems.append({"what": "AWS about what still holds plaintext"} | _said(problem))
        return None


def _said(problem: Problem) -> Data:
    return {"message": problem.message, "detail": problem.detail}
