"""The one door to AWS: a call by name, with timeouts, retries and errors in words. Only here is boto3 imported, and
only when AWS is first asked.

`AWS_ENDPOINT_URL` and every other standard variable act as boto3 has it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
        "DBClusterSnapshotNotFound",
        "DBClusterParameterGroupNotFoundFault",
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


class Denied(Failed):
    """AWS refused the call for want of `permission` (IAM's name of it)."""

    def __init__(self, message: str, permission: str, *, detail: str) -> None:
        super().__init__(message, detail=detail, hint=f"The role this runs under needs the permission {permission}.")
        self.permission = permission


class Aws:
    """AWS in one region, with the credentials of one profile. Clients are made when first needed."""

    def __init__(self, region: str, profile: str | None = None) -> None:
        self.region, self.profile = region, profile
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client with timeouts (5 s to connect, 30 s to read) and standard retries."""
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
            session: Any = boto3.session.Session(region_name=self.region, profile_name=self.profile)
            self._clients[service] = session.client(service, config=config)
        return self._clients[service]

    def account(self) -> str:
        """The number of the account that the credentials are of."""
        return str(self.call("sts", "get_caller_identity")["Account"])

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call one operation (its name in snake_case). Raises NotFound, or Failed with AWS's own words."""
        with _explained(service, operation):
            answer: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
            return answer

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every element under `key` in all pages of a paginated operation. Raises as `call`."""
        with _explained(service, operation):
            pages = iter(self.client(service).get_paginator(operation).paginate(**parameters))
        while True:
            with _explained(service, operation):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get(key, ())

    def rds_token(self, host: str, port: int, user: str) -> str:
        """An IAM authentication token, good for 15 minutes."""
        token: str = self.client("rds").generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
        return token


@contextmanager
def _explained(service: str, operation: str) -> Iterator[None]:
    """Translate what boto3 raises inside the block: here, and nowhere else."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refused(error, service, operation) from None
    except (BotoCoreError, ResponseParserError) as error:
        # The second is no BotoCoreError: what came back was no answer of AWS (a proxy's page, say).
        raise Failed(
            f"AWS does not answer ({service} {operation}).",
            detail=str(error),
            hint="Check the credentials, the region and the network of this host.",
        ) from None


def _refused(error: Any, service: str, operation: str) -> Problem:
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", str(error))
    if code in NOT_FOUND:
        return NotFound(f"AWS knows no such thing ({service} {operation}).", detail=f"{code}: {said}")
    message, detail = f"AWS refused {service} {operation}.", f"{code}: {said}"
    if "AccessDenied" in code or "UnauthorizedOperation" in code:
        return Denied(message, permission(service, operation), detail=detail)
    expired = code in {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}
    hint = "The AWS credentials are not valid (any more): log in again." if expired else None
    return Failed(message, detail=detail, hint=hint)


def permission(service: str, operation: str) -> str:
    """IAM's name of an operation in snake_case: `rds:DescribeDBInstances`."""
    return f"{service}:{operation.title().replace('_', '').replace('Db', 'DB')}"
