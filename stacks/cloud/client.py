"""The one door to AWS: a call by name, with timeouts, retries and errors in words. Only here is boto3 imported.

`AWS_ENDPOINT_URL` and every other standard variable act as boto3 has it.
"""

from collections.abc import Iterator
from typing import Any

from encryptdb.stacks.contract.errors import Failed, Problem, Usage

NOT_FOUND = frozenset(
    {
        "DBInstanceNotFound",
        "DBInstanceNotFoundFault",
        "DBInstanceAutomatedBackupNotFound",
        "DBInstanceAutomatedBackupNotFoundFault",
        "DBClusterAutomatedBackupNotFoundFault",
        "DBClusterNotFoundFault",
        "DBClusterSnapshotNotFoundFault",
        "DBClusterParameterGroupNotFound",
        "DBParameterGroupNotFound",
        "DBParameterGroupNotFoundFault",
        "DBSnapshotNotFound",
        "DBSnapshotNotFoundFault",
        "DBLogFileNotFoundFault",
        "DBProxyNotFoundFault",
        "DBProxyTargetNotFoundFault",
        "ParameterNotFound",
        "ResourceNotFoundException",
    }
)
"""Error codes that mean "there is no such thing", as against "I could not find out"."""


def default_region() -> str | None:
    """The region of AWS_REGION or the profile. Raises Usage where the profile cannot be read."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        region: str | None = boto3.session.Session().region_name
    except BotoCoreError as error:
        raise Usage("The AWS configuration cannot be read.", detail=str(error), hint="See AWS_PROFILE.") from None
    return region


class NotFound(Problem):
    """AWS says that the thing does not exist. Nothing else is ever taken for that."""


class Aws:
    """AWS in one region. Clients are made when first needed."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client with timeouts (5 s to connect, 30 s to read) and standard retries."""
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
            session: Any = boto3.session.Session(region_name=self.region)
            self._clients[service] = session.client(service, config=config)
        return self._clients[service]

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call one operation (its name in snake_case). Raises NotFound, or Failed with AWS's own words."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
        except ClientError as error:
            raise _explain(error, service, operation) from None
        except BotoCoreError as error:
            raise Failed(
                f"AWS does not answer ({service} {operation}).",
                detail=str(error),
                hint="Check the credentials, the region and the way to the AWS endpoint from this host.",
            ) from None
        return answer

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every element under `key` in all pages of a paginated operation. Raises as `call`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for page in self.client(service).get_paginator(operation).paginate(**parameters):
                yield from page.get(key, ())
        except ClientError as error:
            raise _explain(error, service, operation) from None
        except BotoCoreError as error:
            raise Failed(f"AWS does not answer ({service} {operation}).", detail=str(error)) from None

    def rds_token(self, host: str, port: int, user: str) -> str:
        """An IAM authentication token, good for 15 minutes."""
        token: str = self.client("rds").generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
        return token


def _explain(error: Any, service: str, operation: str) -> Problem:
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", str(error))
    if code in NOT_FOUND:
        return NotFound(f"AWS knows no such thing ({service} {operation}).", detail=f"{code}: {said}")
    hint = None
    if "AccessDenied" in code or "UnauthorizedOperation" in code:
        hint = f"The role this runs under needs the permission {service}:{operation.title().replace('_', '')}."
    elif code in {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}:
        hint = "The AWS credentials are not valid (any more): log in again."
    return Failed(f"AWS refused {service} {operation}.", detail=f"{code}: {said}", hint=hint)
