"""aws:rds/parameterGroup:ParameterGroup and aws:rds/clusterParameterGroup:ClusterParameterGroup"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from encryptdb.lab.provider.base import (
    Calls,
    Handler,
    Properties,
    ProviderError,
    as_tag_list,
    as_tags,
    retag_rds,
    same_tags,
)

ABSENT = ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault")

AT_ONCE = 20
"""Parameters a Modify or Reset call takes (RDS API reference)."""

BUSY_SECONDS = 180.0
"""How long a group may stay in use after its last user is gone, or busy with an earlier change."""


@dataclass(frozen=True)
class Api:
    """What the RDS API calls the operations on one kind of group, and the parts of their answers."""

    create: str
    describe: str
    parameters: str
    modify: str
    reset: str
    delete: str
    name: str
    arn: str
    groups: str


class _AnyGroup(Handler):
    """A parameter group; its id is its name."""

    api: ClassVar[Api]
    replaced_by = frozenset({"name", "family", "description"})
    readable = frozenset({"name", "family", "description", "tags"})
    unordered = frozenset({"parameters"})
    named_by = "name"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        calls.call(
            "rds",
            self.api.create,
            DBParameterGroupFamily=inputs["family"],
            Description=inputs.get("description") or "Managed by Pulumi",
            Tags=as_tag_list(inputs.get("tags")),
            **self._named(inputs["name"]),
        )
        self._set(calls, inputs["name"], inputs.get("parameters") or ())
        return inputs["name"], self._outputs(calls, inputs["name"], inputs)

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = calls.find("rds", self.api.describe, ABSENT, **self._named(identity))
        if not found or not found[self.api.groups]:
            return None
        group = found[self.api.groups][0]
        arn = group[self.api.arn]
        tags = as_tags(calls.call("rds", "list_tags_for_resource", ResourceName=arn).get("TagList"))
        return {
            "name": group[self.api.name],
            "family": group["DBParameterGroupFamily"],
            "description": group.get("Description", ""),
            "arn": arn,
            "tags": tags,
            "tagsAll": tags,
            "parameters": [
                {"name": p["ParameterName"], "value": p["ParameterValue"], "applyMethod": p["ApplyMethod"]}
                for p in self._user_set(calls, identity)
            ],
        }

    def inputs(self, outputs: Properties, known: Properties) -> Properties:
        """An import finds the parameters, too. What a refresh finds of them is left alone."""
        return super().inputs(outputs, known) | ({} if known else {"parameters": outputs["parameters"]})

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        if "parameters" in changed:
            wanted = inputs.get("parameters") or []
            names = {p["name"] for p in wanted}
            standing = self._user_set(calls, identity)
            self._reset(calls, identity, [p for p in standing if p["ParameterName"] not in names])
            values = {p["ParameterName"]: p.get("ParameterValue") for p in standing}
            self._set(calls, identity, [p for p in wanted if values.get(p["name"]) != p["value"]])
        outputs = self._outputs(calls, identity, inputs)
        if "tags" in changed:
            retag_rds(calls, outputs["arn"], inputs.get("tags") or {})
        return outputs

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        calls.insist(min(seconds, BUSY_SECONDS), _busy, "rds", self.api.delete, ABSENT, **self._named(identity))

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        found = self.read(calls, inputs["name"])
        if not found or not same_tags(inputs, as_tag_list(found["tags"])):
            return None
        # A create that was cut off may have set only some of them.
        self._set(calls, inputs["name"], inputs.get("parameters") or ())
        return str(inputs["name"])

    def _outputs(self, calls: Calls, name: str, inputs: Properties) -> Properties:
        return inputs | (self.read(calls, name) or {})

    def _set(self, calls: Calls, name: str, parameters: Iterable[Properties]) -> None:
        wanted = [
            {
                "ParameterName": p["name"],
                "ParameterValue": p["value"],
                "ApplyMethod": p.get("applyMethod") or "immediate",
            }
            for p in parameters
        ]
        for chunk in _chunks(wanted):
            calls.call("rds", self.api.modify, Parameters=chunk, **self._named(name))

    def _reset(self, calls: Calls, name: str, parameters: list[dict[str, Any]]) -> None:
        gone = [
            {
                "ParameterName": p["ParameterName"],
                "ApplyMethod": "immediate" if p.get("ApplyType") == "dynamic" else "pending-reboot",
            }
            for p in parameters
        ]
        for chunk in _chunks(gone):
            calls.insist(BUSY_SECONDS, _changing, "rds", self.api.reset, Parameters=chunk, **self._named(name))

    def _user_set(self, calls: Calls, name: str) -> list[dict[str, Any]]:
        pages = calls.client("rds").get_paginator(self.api.parameters)
        return [p for page in pages.paginate(Source="user", **self._named(name)) for p in page["Parameters"]]

    def _named(self, name: str) -> dict[str, str]:
        return {self.api.name: name}


class ParameterGroup(_AnyGroup):
    """A DB parameter group."""

    api = Api(
        create="create_db_parameter_group",
        describe="describe_db_parameter_groups",
        parameters="describe_db_parameters",
        modify="modify_db_parameter_group",
        reset="reset_db_parameter_group",
        delete="delete_db_parameter_group",
        name="DBParameterGroupName",
        arn="DBParameterGroupArn",
        groups="DBParameterGroups",
    )


class ClusterParameterGroup(_AnyGroup):
    """A DB cluster parameter group."""

    api = Api(
        create="create_db_cluster_parameter_group",
        describe="describe_db_cluster_parameter_groups",
        parameters="describe_db_cluster_parameters",
        modify="modify_db_cluster_parameter_group",
        reset="reset_db_cluster_parameter_group",
        delete="delete_db_cluster_parameter_group",
        name="DBClusterParameterGroupName",
        arn="DBClusterParameterGroupArn",
        groups="DBClusterParameterGroups",
    )


def _busy(error: ProviderError) -> bool:
    return error.code.startswith("InvalidDBParameterGroupState")


def _changing(error: ProviderError) -> bool:
    return _busy(error) and "has pending changes" in str(error)


def _chunks(items: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (items[n : n + AT_ONCE] for n in range(0, len(items), AT_ONCE))
