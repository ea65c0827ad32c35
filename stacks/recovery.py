"""Finds in AWS what an interrupted update had begun, and puts it into Pulumi's state.

`pulumi refresh --import-pending-creates` is not enough: engine 3.259 marks the creation as an import, and then drops
it (docs/engine.md). So the entry itself is moved, in the document of `pulumi stack export`, from the pending
operations to the resources; `pulumi refresh` then reads it like any other. Here is no I/O but AWS's reads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from encryptdb.stacks.cloud import reads
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.words import CLUSTER, INSTANCE, Words
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Refused

Document = dict[str, Any]
"""What `pulumi stack export` prints."""


@dataclass(frozen=True)
class Begun:
    """One creation that was begun, as the state remembers it. `inputs` are what AWS was, or was to be, asked for."""

    urn: str
    type: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.urn.split("::")[-1]


@dataclass(frozen=True)
class Found:
    """What a creation had made. `status` is AWS's word; only `available` can be built on."""

    identity: str
    status: str = "available"
    tags: Mapping[str, str] | None = None


def begun(document: Document) -> tuple[Begun, ...]:
    """The interrupted creations: those pending when the engine was killed, and those that a provider left with an error
    in the state when it was asked to stop, which the next update would take for complete."""
    resources = [o["resource"] for o in _pending(document) if o["type"] == "creating"]
    resources += [r for r in document["deployment"].get("resources") or () if _half_made(r)]
    return tuple(Begun(r["urn"], r["type"], r.get("inputs") or {}) for r in resources)


def find(aws: Aws, creation: Begun) -> Found | None:
    """What the creation made, or None if AWS has nothing of that name.

    Raises Refused if it is not this stack's, and for an unknown type.
    """
    if creation.type not in _FINDERS:
        raise Refused(
            f"The creation of {creation.name} was interrupted, and a {creation.type} cannot be looked up.",
            hint=_refresh(creation.urn),
        )
    found = _FINDERS[creation.type](aws, creation.inputs)
    wanted = creation.inputs.get("tags") or {}
    if found and found.tags is not None and any(found.tags.get(k) != v for k, v in wanted.items()):
        raise Refused(
            f"The creation of {creation.name} was interrupted, and AWS has {found.identity} without this stack's tags "
            f"({names.STACK}).",
            hint="It belongs to somebody else: rename or delete it, or use another attempt.",
        )
    return found


def taken_over(document: Document, found: Mapping[str, Found | None]) -> Document:
    """The state with every interrupted creation either a resource, if found, or removed.

    `found` is by URN. Raises Refused if the state already has a live resource of that URN.
    """
    deployment = dict(document["deployment"])
    resources = [
        {k: v for k, v in r.items() if k != "initErrors"} if _half_made(r) and found.get(r["urn"]) else r
        for r in deployment.get("resources") or ()
    ]
    live = {r["urn"] for r in resources if not r.get("delete")}
    rest = []
    for operation in _pending(document):
        resource = operation["resource"]
        if operation["type"] != "creating" or resource["urn"] not in found:
            rest.append(operation)
            continue
        made = found[resource["urn"]]
        if made is None:
            continue
        if resource["urn"] in live:
            raise Refused(
                f"{resource['urn']} was interrupted while it was being replaced: two exist.",
                hint=_refresh(resource["urn"]),
            )
        # Whatever it depends on was made before it, so the end of the list is its place.
        resources.append(resource | {"id": made.identity, "outputs": dict(resource.get("inputs") or {})})
    deployment["resources"] = resources
    deployment.pop("pending_operations", None)
    if rest:
        deployment["pending_operations"] = rest
    return document | {"deployment": deployment}


def _refresh(urn: str) -> str:
    return f"At a terminal, because it asks questions: pulumi refresh --stack {urn.split(':')[2]}"


def _half_made(resource: Mapping[str, Any]) -> bool:
    return bool(resource.get("initErrors")) and resource.get("type") in _FINDERS and not resource.get("delete")


def _pending(document: Document) -> list[dict[str, Any]]:
    return list(document["deployment"].get("pending_operations") or ())


def _instance(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
    found = reads.instance(aws, inputs["identifier"])
    return Found(found.resource_id, found.status, found.tags) if found and not found.deleting else None


def _member(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
    found = _instance(aws, inputs)
    return found and replace(found, identity=inputs["identifier"])


def _cluster(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
    found = reads.cluster(aws, inputs["clusterIdentifier"])
    return Found(found.identifier, found.status, found.tags) if found and not found.deleting else None


def _snapshot(words: Words, key: str) -> Callable[[Aws, Mapping[str, Any]], Found | None]:
    def find_one(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
        found = reads.snapshot(aws, words, inputs[key])
        return Found(found.identifier, found.status, found.tags) if found else None

    return find_one


def _group(words: Words) -> Callable[[Aws, Mapping[str, Any]], Found | None]:
    def find_one(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
        found = reads.parameter_group(aws, words, inputs["name"])
        return Found(found.name, tags=found.tags) if found else None

    return find_one


def _rule(aws: Aws, inputs: Mapping[str, Any]) -> Found | None:
    tags = inputs.get("tags") or {}
    rules = reads.ingress(aws, {f"tag:{key}": [value] for key, value in tags.items()})
    return Found(rules[0].identifier, tags=rules[0].tags) if rules else None


_FINDERS: Mapping[str, Callable[[Aws, Mapping[str, Any]], Found | None]] = {
    "aws:rds/instance:Instance": _instance,
    "aws:rds/snapshot:Snapshot": _snapshot(INSTANCE, "dbSnapshotIdentifier"),
    "aws:rds/snapshotCopy:SnapshotCopy": _snapshot(INSTANCE, "targetDbSnapshotIdentifier"),
    "aws:rds/parameterGroup:ParameterGroup": _group(INSTANCE),
    "aws:rds/cluster:Cluster": _cluster,
    "aws:rds/clusterInstance:ClusterInstance": _member,
    "aws:rds/clusterSnapshot:ClusterSnapshot": _snapshot(CLUSTER, "dbClusterSnapshotIdentifier"),
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": _group(CLUSTER),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule,
}
