"""The prepared parameter, the one channel from the controller to Pulumi: SSM's `/encryptdb/<stack>/prepared`.

`controller prepare` writes it last; the program declares no snapshot of a source for which it is not there; `retire`
and `abandon` delete it.
"""

import dataclasses
import json
from dataclasses import dataclass, field

from encryptdb.stacks.cloud.client import Aws, NotFound
from encryptdb.stacks.contract.errors import Refused
from encryptdb.stacks.contract.names import prepared_parameter as name


@dataclass(frozen=True)
class PreparedParameter:
    """What `prepare` has finished with. `slots` are the slots by database, each with its `name` and its LSN (`lsn`);
    `time` is ISO 8601."""

    source_resource_id: str
    attempt: int
    slots: dict[str, dict[str, str]] = field(default_factory=dict)
    time: str = ""

    @classmethod
    def parse(cls, stack: str, text: str) -> "PreparedParameter":
        """Raises Refused: an invalid parameter does not count as absent."""
        try:
            document = json.loads(text)
            return cls(
                str(document["source_resource_id"]),
                int(document["attempt"]),
                dict(document.get("slots") or {}),
                str(document.get("time") or ""),
            )
        except (ValueError, KeyError, TypeError):
            raise Refused(
                f"The SSM parameter {name(stack)} is invalid.",
                hint=f"encryptdb prepare --stack {stack}",
            ) from None


def read(aws: Aws, stack: str, *, lenient: bool = False) -> PreparedParameter | None:
    """What `prepare` wrote, or None where it has written nothing (or it was deleted). Raises Refused for what cannot be
    understood; `lenient`, it is returned as the parameter of no server, which `prepare` writes again."""
    try:
        answer = aws.call("ssm", "get_parameter", Name=name(stack))
    except NotFound:
        return None
    try:
        return PreparedParameter.parse(stack, answer["Parameter"]["Value"])
    except Refused:
        if lenient:
            return PreparedParameter("", 0)
        raise


def write(aws: Aws, stack: str, prepared: PreparedParameter) -> None:
    """Write it, over any older one."""
    aws.call(
        "ssm",
        "put_parameter",
        Name=name(stack),
        Description="Written by encryptdb: the source is ready for its snapshot.",
        Value=json.dumps(dataclasses.asdict(prepared)),
        Type="String",
        Overwrite=True,
    )


def delete(aws: Aws, stack: str) -> None:
    """Delete it, if it is there."""
    try:
        aws.call("ssm", "delete_parameter", Name=name(stack))
    except NotFound:
        return
