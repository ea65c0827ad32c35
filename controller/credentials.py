"""Who we log in as. First that is there: environment, the side's secret, IAM authentication."""

import json
import os
from collections.abc import Mapping

from encryptdb.controller.postgres.server import Login, SideName
from encryptdb.controller.secret import Secret
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Usage
from encryptdb.stacks.contract.outputs import Outputs, Side

IAM = "IAM authentication"


def login(name: SideName, outputs: Outputs, aws: Aws, environ: Mapping[str, str] = os.environ) -> Login:
    """The login for one side. The target's defaults to the source's, because a restored copy has the roles and
    passwords of the snapshot. Raises Usage where there is none, Failed where a secret cannot be read."""
    side = outputs.source if name == "source" else outputs.target
    assert side is not None, "a target's login is asked for only when there is a target"
    found = _own(name, side, outputs, aws, environ)
    if found is None and name == "target":
        found = _own("source", outputs.source, outputs, aws, environ, reach=side)
    if found is None:
        raise Usage(
            f"There is no login for the {name}.",
            detail="Neither ENCRYPTDB_SOURCE_USER and ENCRYPTDB_SOURCE_PASSWORD, nor a secret in the stack "
            "(sourceSecret), nor auth: iam.",
            hint="Set the two variables in the pipeline's secret store, or sourceSecret in the stack's config.",
        )
    return found


def _own(
    name: SideName, side: Side, outputs: Outputs, aws: Aws, environ: Mapping[str, str], reach: Side | None = None
) -> Login | None:
    prefix = f"ENCRYPTDB_{name.upper()}"
    password = environ.get(f"{prefix}_PASSWORD")
    user = environ.get(f"{prefix}_USER") or environ.get("ENCRYPTDB_SOURCE_USER")
    if password:
        if not user:
            raise Usage(
                f"{prefix}_PASSWORD is set, but {prefix}_USER is not.", hint=f"Set {prefix}_USER to the role's name."
            )
        return Login(user, Secret(password), f"{prefix}_PASSWORD")
    if side.secret_arn:
        return _from_secret(side.secret_arn, aws)
    if outputs.auth == "iam" and user:
        to = reach or side
        token = aws.rds_token(to.host or "", to.port, user)
        return Login(user, Secret(token), IAM)
    return None


def elsewhere(login: Login, host: str, port: int, aws: Aws) -> Login:
    """The same login for another address of the same server: a token is good for one address only."""
    if login.origin != IAM:
        return login
    return Login(login.user, Secret(aws.rds_token(host, port, login.user)), IAM)


def _from_secret(arn: str, aws: Aws) -> Login:
    answer = aws.call("secretsmanager", "get_secret_value", SecretId=arn)
    try:
        document = json.loads(answer["SecretString"])
        return Login(document["username"], Secret(document["password"]), f"the secret {arn}")
    except (KeyError, ValueError, TypeError):
        # The cause would quote the secret's text.
        raise Failed(
            f"The secret {arn} does not hold a login.",
            detail="Expected a JSON object with the keys username and password.",
            hint="RDS-managed secrets have this form; make yours the same.",
        ) from None
