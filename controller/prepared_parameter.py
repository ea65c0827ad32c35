"""The one channel from the controller to Pulumi: the SSM parameter `/encryptdb/<stack>/prepared`.

The program declares no snapshot of a source for which this parameter is not there.
"""

import json
from typing import Any

from encryptdb.controller.migration import Migration
from encryptdb.stacks.cloud.client import NotFound

PreparedParameter = dict[str, Any]


def parameter_name(stack: str) -> str:
    """The SSM parameter's name."""
    return f"/encryptdb/{stack}/prepared"


def read(m: Migration) -> PreparedParameter | None:
    """The prepared parameter, or None where AWS says that there is none (or it is not ours to understand)."""
    try:
        answer = m.aws.call("ssm", "get_parameter", Name=parameter_name(m.outputs.stack))
    except NotFound:
        return None
    try:
        document = json.loads(answer["Parameter"]["Value"])
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def write(m: Migration, prepared_parameter: PreparedParameter) -> None:
    """Write the prepared parameter, over any older one."""
    m.aws.call(
        "ssm",
        "put_parameter",
        Name=parameter_name(m.outputs.stack),
        Description="Written by encryptdb: the source is ready for its snapshot.",
        Value=json.dumps(prepared_parameter, default=str),
        Type="String",
        Overwrite=True,
    )


def delete(m: Migration) -> None:
    """Delete the prepared parameter, if there is one."""
    try:
        m.aws.call("ssm", "delete_parameter", Name=parameter_name(m.outputs.stack))
    except NotFound:
        return
