"""The functions (invokes) of pulumi-aws that the stack calls."""

from collections.abc import Callable

from encryptdb.lab.provider.base import Calls, Properties

Function = Callable[[Calls, Properties], Properties]


def get_key(calls: Calls, arguments: Properties) -> Properties:
    """aws.kms.get_key: DescribeKey, which also makes alias/aws/rds where an account never had it."""
    found = calls.call("kms", "describe_key", KeyId=arguments["keyId"])["KeyMetadata"]
    return {
        "id": found["KeyId"],
        "keyId": found["KeyId"],
        "arn": found["Arn"],
        "enabled": bool(found.get("Enabled")),
        "keyState": found.get("KeyState", ""),
        "keyUsage": found.get("KeyUsage", ""),
        "customerMasterKeySpec": found.get("CustomerMasterKeySpec") or found.get("KeySpec") or "",
        "keyManager": found.get("KeyManager", ""),
        "awsAccountId": found.get("AWSAccountId", ""),
    }


def get_caller_identity(calls: Calls, arguments: Properties) -> Properties:
    """aws.get_caller_identity."""
    found = calls.call("sts", "get_caller_identity")
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


def get_region(calls: Calls, arguments: Properties) -> Properties:
    """aws.get_region: where the provider works."""
    region = calls.client("sts").meta.region_name
    return {"id": region, "region": region, "name": region, "description": region, "endpoint": ""}


FUNCTIONS: dict[str, Function] = {
    "aws:kms/getKey:getKey": get_key,
    "aws:index/getCallerIdentity:getCallerIdentity": get_caller_identity,
    "aws:index/getRegion:getRegion": get_region,
}
"""Every function the provider answers, by its Pulumi token."""
