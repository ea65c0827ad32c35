"""aws:rds/snapshot:Snapshot and aws:rds/snapshotCopy:SnapshotCopy"""

from typing import Any

from lab.provider.base import Calls, Handler, Properties, ProviderError, as_tag_list, as_tags, retag_rds, same_tags

ABSENT = ("DBSnapshotNotFound", "DBSnapshotNotFoundFault")


class _AnySnapshot(Handler):
    """What both have in common: a DB snapshot, whose id is its identifier."""

    readable = frozenset({"tags"})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = describe(calls, identity)
        return None if found is None else _outputs(found)

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        outputs = self.read(calls, identity)
        if outputs is None:
            raise ProviderError(f"the snapshot {identity} is gone")
        if "tags" in changed:
            retag_rds(calls, outputs["dbSnapshotArn"], inputs.get("tags") or {})
        return outputs | inputs

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        calls.find("rds", "delete_db_snapshot", ABSENT, DBSnapshotIdentifier=identity)
        calls.wait(f"the snapshot {identity} to be gone", seconds, lambda: _gone(describe(calls, identity)))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        name = str(inputs[self.named_by or ""])
        found = describe(calls, name)
        return name if found and same_tags(inputs, found.get("TagList")) else None

    def settle(self, calls: Calls, identity: str, seconds: float) -> None:
        calls.wait(f"the snapshot {identity} to be available", seconds, lambda: _available(calls, identity))

    def _made(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        self.settle(calls, identity, seconds)
        return identity, inputs | (self.read(calls, identity) or {})


class Snapshot(_AnySnapshot):
    """A manual snapshot of an instance."""

    replaced_by = frozenset({"dbInstanceIdentifier", "dbSnapshotIdentifier"})
    named_by = "dbSnapshotIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        calls.call(
            "rds",
            "create_db_snapshot",
            DBSnapshotIdentifier=inputs["dbSnapshotIdentifier"],
            DBInstanceIdentifier=inputs["dbInstanceIdentifier"],
            Tags=as_tag_list(inputs.get("tags")),
        )
        return self._made(calls, inputs["dbSnapshotIdentifier"], inputs, seconds)


class SnapshotCopy(_AnySnapshot):
    """A copy of a snapshot, encrypted under another key."""

    replaced_by = frozenset({"sourceDbSnapshotIdentifier", "targetDbSnapshotIdentifier", "kmsKeyId", "copyTags"})
    named_by = "targetDbSnapshotIdentifier"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        arguments: dict[str, Any] = {
            "SourceDBSnapshotIdentifier": inputs["sourceDbSnapshotIdentifier"],
            "TargetDBSnapshotIdentifier": inputs["targetDbSnapshotIdentifier"],
            "Tags": as_tag_list(inputs.get("tags")),
        }
        if inputs.get("kmsKeyId"):
            arguments["KmsKeyId"] = inputs["kmsKeyId"]
        calls.call("rds", "copy_db_snapshot", **arguments)
        return self._made(calls, inputs["targetDbSnapshotIdentifier"], inputs, seconds)


def describe(calls: Calls, identifier: str) -> dict[str, Any] | None:
    """The snapshot as AWS describes it, or None."""
    found = calls.find("rds", "describe_db_snapshots", ABSENT, DBSnapshotIdentifier=identifier)
    return found["DBSnapshots"][0] if found and found["DBSnapshots"] else None


def _available(calls: Calls, identifier: str) -> tuple[bool, str]:
    found = describe(calls, identifier)
    if found is None:
        raise ProviderError(f"the snapshot {identifier} disappeared while it was being made")
    if found["Status"] == "failed":
        raise ProviderError(f"the snapshot {identifier} failed; see the instance's events (aws rds describe-events)")
    return found["Status"] == "available", f"{found['Status']}, {found.get('PercentProgress', 0)} %"


def _gone(found: dict[str, Any] | None) -> tuple[bool, str]:
    return found is None, found["Status"] if found else "gone"


def _outputs(found: dict[str, Any]) -> Properties:
    tags = as_tags(found.get("TagList"))
    return {
        "dbSnapshotArn": found["DBSnapshotArn"],
        "encrypted": bool(found.get("Encrypted")),
        "engine": found.get("Engine", ""),
        "engineVersion": found.get("EngineVersion", ""),
        "kmsKeyId": found.get("KmsKeyId") or "",
        "snapshotType": found.get("SnapshotType", ""),
        "status": found["Status"],
        "tags": tags,
        "tagsAll": tags,
    }
