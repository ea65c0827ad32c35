"""aws:rds/parameterGroup:ParameterGroup"""

from collections.abc import Iterable
from typing import Any

from lab.provider.base import Calls, Handler, Properties, as_tag_list, as_tags, retag_rds, same_tags

ABSENT = ("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault")

AT_ONCE = 20
"""Parameters a Modify or Reset call takes (RDS API reference)."""


class ParameterGroup(Handler):
    """A DB parameter group; its id is its name."""

    replaced_by = frozenset({"name", "family", "description"})
    readable = frozenset({"name", "family", "description", "tags"})
    unordered = frozenset({"parameters"})
    named_by = "name"

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        calls.call(
            "rds",
            "create_db_parameter_group",
            DBParameterGroupName=inputs["name"],
            DBParameterGroupFamily=inputs["family"],
            Description=inputs.get("description") or "Managed by Pulumi",
            Tags=as_tag_list(inputs.get("tags")),
        )
        self._set(calls, inputs["name"], inputs.get("parameters") or ())
        return inputs["name"], self._outputs(calls, inputs["name"], inputs)

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = calls.find("rds", "describe_db_parameter_groups", ABSENT, DBParameterGroupName=identity)
        if not found or not found["DBParameterGroups"]:
            return None
        group = found["DBParameterGroups"][0]
        arn = group["DBParameterGroupArn"]
        tags = as_tags(calls.call("rds", "list_tags_for_resource", ResourceName=arn).get("TagList"))
        return {
            "name": group["DBParameterGroupName"],
            "family": group["DBParameterGroupFamily"],
            "description": group.get("Description", ""),
            "arn": arn,
            "tags": tags,
            "tagsAll": tags,
        }

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
        calls.find("rds", "delete_db_parameter_group", ABSENT, DBParameterGroupName=identity)

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
            calls.call("rds", "modify_db_parameter_group", DBParameterGroupName=name, Parameters=chunk)

    def _reset(self, calls: Calls, name: str, parameters: list[dict[str, Any]]) -> None:
        gone = [
            {
                "ParameterName": p["ParameterName"],
                "ApplyMethod": "immediate" if p.get("ApplyType") == "dynamic" else "pending-reboot",
            }
            for p in parameters
        ]
        for chunk in _chunks(gone):
            calls.call("rds", "reset_db_parameter_group", DBParameterGroupName=name, Parameters=chunk)

    def _user_set(self, calls: Calls, name: str) -> list[dict[str, Any]]:
        pages = calls.client("rds").get_paginator("describe_db_parameters")
        return [p for page in pages.paginate(DBParameterGroupName=name, Source="user") for p in page["Parameters"]]


def _chunks(items: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (items[n : n + AT_ONCE] for n in range(0, len(items), AT_ONCE))
