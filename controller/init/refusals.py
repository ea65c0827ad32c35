"""Why a source cannot have a stack. Pure: each raises what the Pulumi program or the controller would raise later."""

import difflib
import re
from collections.abc import Collection

from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.cloud.eligibility import ineligible
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import AGAIN, NotYet, Problem, Refused, Usage

_STACK = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


def identifier(given: str) -> str:
    """SOURCE in lower case, as RDS stores it. Raises Usage."""
    if given.startswith("arn:"):
        raise Usage(
            f"{given} is an ARN.",
            detail="A source is named by its DBInstanceIdentifier or DBClusterIdentifier.",
            hint=f"Give {given.rpartition(':')[2] or 'the identifier'} (the region is that of --region, AWS_REGION or "
            "your profile).",
        )
    name = names.identifier(given)
    if name is None:
        raise Usage(f"{given!r} cannot be the identifier of an RDS instance or cluster.", hint=names.IDENTIFIER_RULE)
    return name


def stack_name(given: str) -> str:
    """The stack's name. Raises Usage if Pulumi would not accept it."""
    if not _STACK.fullmatch(given) or given.strip(".") == "":
        raise Usage(
            f"{given!r} is not a valid stack name.",
            detail="Pulumi takes up to 100 letters, digits and - _ . (without organization and project).",
            hint="Give another name with --stack.",
        )
    return given


def not_found(name: str, region: str, known: Collection[str] | None) -> Problem:
    """No instance and no cluster has this name; `known` are those of the region, None if they could not be listed."""
    near = difflib.get_close_matches(name, known or (), 3, 0.5) or sorted(known or ())[:5]
    if known is None:
        there = "The databases of the region could not be listed."
    elif near:
        there = f"There is {', '.join(near)}."
    else:
        there = "The region has no RDS instance and no cluster."
    return Usage(
        f"There is no RDS instance and no Aurora cluster {name} in {region}.",
        detail=there,
        hint="Check the name, the region (--region) and the account of the credentials.",
    )


def refuse(source: Database, stack: str) -> None:
    """Raises Refused if the source cannot be encrypted, NotYet while it is being created."""
    found = ineligible(source, stack)
    if found is None:
        return
    again = f" encryptdb init {found.instead}" if found.instead else f" Then: {AGAIN}" if found.passes else ""
    raise (NotYet if found.passes else Refused)(found.message, detail=found.detail, hint=f"{found.hint}{again}")
