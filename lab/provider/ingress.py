"""aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"""

from typing import Any

from encryptdb.lab.provider.base import Calls, Handler, Properties, as_tag_list, as_tags, same_tags

ABSENT = ("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound", "InvalidPermission.NotFound")


class IngressRule(Handler):
    """One rule that lets one security group into another; its id is sgr-…"""

    replaced_by = frozenset({"securityGroupId"})
    readable = frozenset({"securityGroupId", "referencedSecurityGroupId", "fromPort", "toPort", "ipProtocol", "tags"})

    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        answer = calls.call(
            "ec2",
            "authorize_security_group_ingress",
            GroupId=inputs["securityGroupId"],
            IpPermissions=[
                {
                    "IpProtocol": inputs["ipProtocol"],
                    "FromPort": int(inputs["fromPort"]),
                    "ToPort": int(inputs["toPort"]),
                    "UserIdGroupPairs": [
                        {
                            "GroupId": inputs["referencedSecurityGroupId"],
                            "Description": inputs.get("description") or "",
                        }
                    ],
                }
            ],
            TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": as_tag_list(inputs.get("tags"))}],
        )
        identity = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        return identity, inputs | (self.read(calls, identity) or {})

    def read(self, calls: Calls, identity: str) -> Properties | None:
        found = calls.find("ec2", "describe_security_group_rules", ABSENT, SecurityGroupRuleIds=[identity])
        if not found or not found["SecurityGroupRules"]:
            return None
        return _outputs(found["SecurityGroupRules"][0])

    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        if changed - {"tags"}:
            calls.call(
                "ec2",
                "modify_security_group_rules",
                GroupId=inputs["securityGroupId"],
                SecurityGroupRules=[
                    {
                        "SecurityGroupRuleId": identity,
                        "SecurityGroupRule": {
                            "IpProtocol": inputs["ipProtocol"],
                            "FromPort": int(inputs["fromPort"]),
                            "ToPort": int(inputs["toPort"]),
                            "ReferencedGroupId": inputs["referencedSecurityGroupId"],
                            "Description": inputs.get("description") or "",
                        },
                    }
                ],
            )
        if "tags" in changed:
            calls.call("ec2", "create_tags", Resources=[identity], Tags=as_tag_list(inputs.get("tags")))
        return inputs | (self.read(calls, identity) or {})

    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        calls.find(
            "ec2",
            "revoke_security_group_ingress",
            ABSENT,
            GroupId=inputs["securityGroupId"],
            SecurityGroupRuleIds=[identity],
        )

    def find(self, calls: Calls, inputs: Properties) -> str | None:
        filters = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
        rules = calls.call("ec2", "describe_security_group_rules", Filters=filters)["SecurityGroupRules"]
        return next((str(r["SecurityGroupRuleId"]) for r in rules if same_tags(inputs, r.get("Tags"))), None)


def _outputs(rule: dict[str, Any]) -> Properties:
    tags = as_tags(rule.get("Tags"))
    return {
        "securityGroupRuleId": rule["SecurityGroupRuleId"],
        "securityGroupId": rule["GroupId"],
        "referencedSecurityGroupId": (rule.get("ReferencedGroupInfo") or {}).get("GroupId", ""),
        "fromPort": rule.get("FromPort"),
        "toPort": rule.get("ToPort"),
        "ipProtocol": rule.get("IpProtocol", ""),
        "tags": tags,
        "tagsAll": tags,
    }
