"""Worlds for the program to find, and an engine whose things are only remembered."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encryptdb.lab.provider import HANDLERS
from encryptdb.lab.provider.base import Calls, Handler, Properties, ProviderError
from encryptdb.lab.pulumi.deployment import Deployment
from encryptdb.lab.pulumi.state import State
from encryptdb.lab.pulumi.step import Goal
from encryptdb.stacks.cloud.database import Cluster, Database, Instance
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.cloud.reads import Parameter, Snapshot
from encryptdb.stacks.contract.names import ATTEMPT, IAM, MEMBER, MEMBERS, SOURCE, SOURCE_RESOURCE_ID, STACK
from encryptdb.stacks.observe import Key, Place, Seen
from encryptdb.stacks.settings import Settings

PLACE = Place("eu-central-1", "111122223333")
KEY = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
OTHER_KEY = "arn:aws:kms:eu-central-1:111122223333:key/66666666-7777-8888-9999-000000000000"

SOURCE_INSTANCE = Instance(
    identifier="orders-prod",
    resource_id="db-SOURCE",
    engine="postgres",
    engine_version="15.7",
    status="available",
    host="orders-prod.example",
    port=5433,
    encrypted=False,
    kms_key_arn=None,
    parameter_group="orders-prod",
    instance_class="db.m6g.large",
    subnet_group="private",
    security_groups=("sg-1", "sg-2"),
    multi_az=True,
    log_exports=("postgresql", "upgrade"),
    publicly_accessible=False,
    iam_authentication=True,
    copy_tags_to_snapshot=True,
    auto_minor_version_upgrade=False,
    tags={"team": "orders", "aws:created-by": "somebody"},
)


def member_of(cluster: str, number: int, **changes: Any) -> Instance:
    """One instance of a cluster. The first is the writer; the second is smaller, and of an own parameter group."""
    given: dict[str, Any] = {
        "identifier": f"{cluster}-{number}",
        "resource_id": f"db-{cluster}-{number}",
        "engine": "aurora-postgresql",
        "engine_version": "15.4",
        "host": f"{cluster}-{number}.example",
        "parameter_group": "default.aurora-postgresql15" if number == 1 else "reports",
        "instance_class": "db.r6g.large" if number == 1 else "db.r6g.medium",
        "multi_az": False,
        "promotion_tier": number - 1,
        "member_of": cluster,
        "writer": number == 1,
        "tags": {"role": "writer" if number == 1 else "reader"},
    }
    return dataclasses.replace(SOURCE_INSTANCE, **given | changes)


SOURCE_CLUSTER = Cluster(
    identifier="orders-prod",
    resource_id="cluster-SOURCE",
    engine="aurora-postgresql",
    engine_version="15.4",
    status="available",
    host="orders-prod.cluster.example",
    reader_host="orders-prod.cluster-ro.example",
    port=5433,
    encrypted=False,
    kms_key_arn=None,
    parameter_group="orders-prod",
    subnet_group="private",
    security_groups=("sg-1", "sg-2"),
    log_exports=("postgresql",),
    iam_authentication=True,
    copy_tags_to_snapshot=True,
    members=(member_of("orders-prod", 1), member_of("orders-prod", 2)),
    tags={"team": "orders", "aws:created-by": "somebody"},
)

PARAMETERS = (
    Parameter("work_mem", "8192", static=False, user=True),
    Parameter("max_worker_processes", "64", static=True, user=True),
    Parameter("max_wal_senders", "20", static=True, user=False),
)


def target_of(attempt: int = 1, **changes: Any) -> Instance:
    """The target that an attempt made."""
    given = {
        "identifier": f"orders-prod-encrypted-{attempt}",
        "resource_id": f"db-TARGET{attempt}",
        "encrypted": True,
        "kms_key_arn": KEY,
        "parameter_group": "encryptdb-orders-prod-target",
        "tags": {
            STACK: "orders-prod",
            ATTEMPT: str(attempt),
            SOURCE: "orders-prod",
            SOURCE_RESOURCE_ID: "db-SOURCE",
        },
    }
    return dataclasses.replace(SOURCE_INSTANCE, **given | changes)


def target_cluster_of(attempt: int = 1, count: int = 2, **changes: Any) -> Cluster:
    """The target cluster that an attempt made, with its instances."""
    name = f"orders-prod-encrypted-{attempt}"
    marks = {STACK: "orders-prod", ATTEMPT: str(attempt), SOURCE: "orders-prod", SOURCE_RESOURCE_ID: "cluster-SOURCE"}
    given: dict[str, Any] = {
        "identifier": name,
        "resource_id": f"cluster-TARGET{attempt}",
        "host": f"{name}.cluster.example",
        "reader_host": f"{name}.cluster-ro.example",
        "encrypted": True,
        "kms_key_arn": KEY,
        "parameter_group": "encryptdb-orders-prod-target",
        "members": tuple(member_of(name, n, tags=marks | {MEMBER: str(n)}) for n in range(1, count + 1)),
        "tags": marks | {MEMBERS: str(count), IAM: "true"},
    }
    return dataclasses.replace(SOURCE_CLUSTER, **given | changes)


def snapshot_of(attempt: int = 1, encrypted: bool = False) -> Snapshot:
    """A snapshot that an attempt made."""
    name = f"encryptdb-orders-prod-{attempt}" + ("-encrypted" if encrypted else "")
    tags = {STACK: "orders-prod", ATTEMPT: str(attempt), SOURCE_RESOURCE_ID: "db-SOURCE"}
    return Snapshot(name, f"arn:aws:rds:eu-central-1:111122223333:snapshot:{name}", KEY if encrypted else None, tags)


def settings(**changes: Any) -> Settings:
    return dataclasses.replace(Settings("orders-prod", "orders-prod", "prepare"), **changes)


def seen(**changes: Any) -> Seen:
    """A world with an unencrypted source that `controller prepare` has finished with."""
    world = Seen(
        place=PLACE,
        source=SOURCE_INSTANCE,
        targets={},
        snapshot=None,
        encrypted=None,
        prepared_parameter=PreparedParameter("db-SOURCE", 1),
        key=Key(KEY, True, "Enabled", "SYMMETRIC_DEFAULT"),
        identifiers=frozenset({"orders-prod"}),
        source_parameters=PARAMETERS,
    )
    return dataclasses.replace(world, **changes)


def restored(**changes: Any) -> Seen:
    """The same world after `restore`."""
    made = {
        "targets": {1: target_of(1)},
        "snapshot": snapshot_of(1),
        "encrypted": snapshot_of(1, encrypted=True),
        "identifiers": frozenset({"orders-prod", "orders-prod-encrypted-1"}),
        "own_target_group": (Parameter("work_mem", "8192", static=False, user=True),),
    }
    return seen(**made | changes)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the two that can be migrated, and the worlds around it. `made` is what `restore` adds, by logical name."""

    source: Database
    target_of: Callable[..., Database]
    made: frozenset[str]

    @property
    def of_cluster(self) -> bool:
        return isinstance(self.source, Cluster)

    def seen(self, **changes: Any) -> Seen:
        """A world with an unencrypted source that `controller prepare` has finished with."""
        members = {m.identifier for m in self.source.members} if isinstance(self.source, Cluster) else {"orders-prod"}
        given: dict[str, Any] = {
            "source": self.source,
            "prepared_parameter": PreparedParameter(self.source.resource_id, 1),
            "identifiers": frozenset(members),
            "cluster_identifiers": frozenset({"orders-prod"} if self.of_cluster else ()),
        }
        return seen(**given | changes)

    def restored(self, **changes: Any) -> Seen:
        """The same world after `restore`."""
        target = self.target_of(1)
        before = self.seen()
        members = {m.identifier for m in target.members} if isinstance(target, Cluster) else {target.identifier}
        given: dict[str, Any] = {
            "targets": {1: target},
            "snapshot": snapshot_of(1),
            "encrypted": None if self.of_cluster else snapshot_of(1, encrypted=True),
            "identifiers": before.identifiers | members,
            "cluster_identifiers": before.cluster_identifiers | ({target.identifier} if self.of_cluster else set()),
            "own_target_group": (Parameter("work_mem", "8192", static=False, user=True),),
        }
        return self.seen(**given | changes)

    def gone(self) -> Seen:
        """The world in `retire`: the source is not read."""
        return self.restored(source=None, prepared_parameter=None, key=None)


RDS = Kind(SOURCE_INSTANCE, target_of, frozenset({"snapshot-1", "encrypted-snapshot-1", "target-1"}))
AURORA = Kind(SOURCE_CLUSTER, target_cluster_of, frozenset({"snapshot-1", "target-1", "target-1-1", "target-1-2"}))


def silent(text: str) -> None:
    """Progress that nobody reads."""


class Remembered(Handler):
    """A resource type whose things are only remembered. Every call is written down; a name can be told to fail."""

    # What the Terraform provider replaces for, of all types.
    replaced_by = frozenset(
        {
            "kind",
            "snapshotIdentifier",
            "storageEncrypted",
            "kmsKeyId",
            "engine",
            "dbInstanceIdentifier",
            "sourceDbSnapshotIdentifier",
            "clusterIdentifier",
            "dbClusterIdentifier",
            "dbClusterSnapshotIdentifier",
        }
    )
    unordered = frozenset({"parameters"})

    def __init__(self) -> None:
        self.things: dict[str, Properties] = {}
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.count = 0

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        self._call("create", inputs)
        self.count += 1
        identity = f"id-{self.count}"
        self.things[identity] = dict(inputs)
        return identity, self._outputs(identity)

    def read(self, calls: Calls, identity: str) -> Properties | None:
        return self._outputs(identity) if identity in self.things else None

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        self._call("update", inputs)
        self.things[identity] = dict(inputs)
        return self._outputs(identity)

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        self._call("delete", inputs)
        self.things.pop(identity, None)

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        return next((i for i, known in self.things.items() if known == inputs), None)

    def _call(self, what: str, inputs: Properties) -> None:
        label = str(inputs.get("label") or inputs.get("name") or inputs.get("identifier") or "?")
        self.calls.append(f"{what} {label}")
        if label in self.failing:
            raise ProviderError("no capacity")

    def _outputs(self, identity: str) -> Properties:
        inputs = self.things[identity]
        made = {
            "dbSnapshotArn": f"arn:{inputs.get('dbSnapshotIdentifier', '')}",
            "dbClusterSnapshotArn": f"arn:{inputs.get('dbClusterSnapshotIdentifier', '')}",
            "resourceId": identity,
            "clusterResourceId": identity,
            "address": f"{identity}.example",
            "endpoint": f"{identity}.cluster.example",
            "readerEndpoint": f"{identity}.cluster-ro.example",
            "identifier": inputs.get("identifier", ""),
        }
        return made | inputs


class Declared(Deployment):
    """A preview that keeps what was declared."""

    def __init__(self, path: Path) -> None:
        handler = Remembered()
        super().__init__(State(path, [], []), dict.fromkeys(HANDLERS, handler), Calls(say=silent), preview=False)
        self.goals: dict[str, Goal] = {}

    def register(self, goal: Goal) -> tuple[str, Properties]:
        self.goals[goal.name] = goal
        return super().register(goal)


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What the program declared, by logical name, and the outputs of the stack."""

    goals: dict[str, Goal]
    outputs: Properties

    def inputs(self, name: str) -> Properties:
        return self.goals[name].inputs

    def names(self) -> set[str]:
        return {g.name for g in self.goals.values() if g.custom}


Declare = Callable[..., Declaration]
