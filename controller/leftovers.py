"""What still holds plaintext after the move: everything in AWS that came from the unencrypted source.

A list, not a deletion: none of it is ours to delete unasked.
"""

from dataclasses import dataclass
from typing import Any

from controller import rds
from controller.aws import Aws, NotFound
from controller.migration import Migration


@dataclass(frozen=True)
class Leftover:
    """One thing that may hold plaintext, and the command that removes it."""

    kind: str
    name: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "remedy": self.remedy}


def find_source(m: Migration) -> rds.Instance | None:
    """The source instance, by its resource id, whatever it is called now; None where it is gone."""
    wanted = m.outputs.source.resource_id
    for answer in m.aws.pages("rds", "describe_db_instances", "DBInstances"):
        if answer.get("DbiResourceId") == wanted:
            return rds.Instance.read(answer)
    return None


def find(m: Migration) -> list[Leftover]:
    """Everything there is, now. Raises Failed where AWS does not tell."""
    identifier, resource_id = m.outputs.source.identifier, m.outputs.source.resource_id
    source = find_source(m)
    found: list[Leftover] = []
    if source is not None and not source.encrypted:
        found.append(
            Leftover(
                "instance",
                source.identifier,
                f"python -m controller retire --stack {m.outputs.stack} --delete-source {source.identifier}",
            )
        )
        found += [
            Leftover("read replica", replica, f"aws rds delete-db-instance --db-instance-identifier {replica}")
            for replica in source.read_replicas
        ]
    for snapshot in m.aws.pages("rds", "describe_db_snapshots", "DBSnapshots"):
        ours = snapshot.get("DbiResourceId") == resource_id or snapshot.get("DBInstanceIdentifier") == identifier
        if ours and not snapshot.get("Encrypted"):
            found.append(_snapshot(m, snapshot))
    found += _automated_backups(m.aws, resource_id)
    found += _log_groups(m.aws, identifier)
    return found


def _snapshot(m: Migration, snapshot: dict[str, Any]) -> Leftover:
    name = snapshot["DBSnapshotIdentifier"]
    tags = {t["Key"]: t["Value"] for t in snapshot.get("TagList") or ()}
    if tags.get("encryptdb:stack") == m.outputs.stack:
        return Leftover("snapshot", name, f"set phase to retire in the stack {m.outputs.stack}, then pulumi up")
    if snapshot.get("SnapshotType") == "automated":
        return Leftover("automated snapshot", name, "goes with the source instance")
    return Leftover("snapshot", name, f"aws rds delete-db-snapshot --db-snapshot-identifier {name}")


def _automated_backups(aws: Aws, resource_id: str) -> list[Leftover]:
    try:
        listed = aws.call("rds", "describe_db_instance_automated_backups", DbiResourceId=resource_id)
    except NotFound:
        return []
    return [
        Leftover(
            "automated backups",
            backup.get("DbiResourceId", resource_id),
            f"aws rds delete-db-instance-automated-backup --dbi-resource-id {resource_id}",
        )
        for backup in listed.get("DBInstanceAutomatedBackups", ())
        if not backup.get("Encrypted")
    ]


def _log_groups(aws: Aws, identifier: str) -> list[Leftover]:
    prefix = f"/aws/rds/instance/{identifier}/"
    return [
        Leftover(
            "log group", group["logGroupName"], f"aws logs delete-log-group --log-group-name {group['logGroupName']}"
        )
        for group in aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
        # Unless it has a key of its own, what applications wrote into their statements stands there in the clear.
        if not group.get("kmsKeyId")
    ]
