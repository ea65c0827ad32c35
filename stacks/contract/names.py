"""Every name and tag the program gives, in one place, so that no two parts can disagree about one.

The attempt is part of what an attempt makes (snapshot, copy, target), so that a second try meets nothing of the first.
Parameter groups and the link serve every attempt and carry no attempt.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

AWS_PREFIX = "aws:"
"""What the tags begin with that AWS keeps, and nobody can set."""
PREFIX = "encryptdb:"
"""What the tags of this program begin with."""
STACK = "encryptdb:stack"
ATTEMPT = "encryptdb:attempt"
SOURCE = "encryptdb:source"
SOURCE_RESOURCE_ID = "encryptdb:source-resource-id"
SOURCE_PORT = "encryptdb:source-port"
LINK = "encryptdb:link"
QUIETED = "encryptdb:quieted"
MEMBERS = "encryptdb:members"
"""On a target cluster: how many instances the program made for it."""
STATE = "encryptdb:state"
"""On a target: how its migration ended, once no control database is left to tell."""
MEMBER = "encryptdb:member"
"""On each of them: which one it is, counted from 1."""

IAM = "encryptdb:iam-authentication"
"""On a target cluster: whether it is to have IAM authentication, as the source had when the target was made."""


class Ending(StrEnum):
    """The values of the tag STATE."""

    RETIRED = "retired"
    ABANDONED = "abandoned"


SWITCH_KINDS = ("pgbouncer", "secretsmanager", "route53", "rds-proxy", "command")
"""The kinds of switches. Each is a module of controller/switches that has the kind's name (- is _)."""

IDENTIFIER_LENGTH = 63
"""The longest DBInstanceIdentifier or DBClusterIdentifier, in characters (RDS API reference, CreateDBInstance)."""
MEMBER_ROOM = len("-16")
"""What the number of a member takes of that. A cluster has one writer and up to 15 readers."""


@dataclass(frozen=True)
class Names:
    """What this stack's things are called."""

    stack: str
    attempt: int

    @property
    def source_group(self) -> str:
        return f"encryptdb-{slug(self.stack)}-source"

    @property
    def target_group(self) -> str:
        return f"encryptdb-{slug(self.stack)}-target"

    @property
    def snapshot(self) -> str:
        return f"encryptdb-{slug(self.stack)}-{self.attempt}"

    @property
    def encrypted_snapshot(self) -> str:
        return f"{self.snapshot}-encrypted"

    def target(self, source_identifier: str, room: int = 0) -> str:
        """The target's default identifier: the source's, cut so that RDS accepts the whole and `room` characters."""
        ending = f"-encrypted-{self.attempt}"
        return source_identifier[: IDENTIFIER_LENGTH - room - len(ending)].rstrip("-") + ending

    def tags(self) -> dict[str, str]:
        """What marks a thing as one of this attempt's."""
        return {STACK: self.stack, ATTEMPT: str(self.attempt)}


def prepared_parameter(stack: str) -> str:
    """The SSM parameter in which `controller prepare` says that it is done."""
    return f"/encryptdb/{stack}/prepared"


def identifier(given: str) -> str | None:
    """The identifier of an instance or cluster as RDS keeps it, in lower case; None where it cannot be one."""
    found = given.lower()
    return found if len(found) <= IDENTIFIER_LENGTH and _IDENTIFIER.fullmatch(found) else None


IDENTIFIER_RULE = "Up to 63 letters, digits and single hyphens, beginning with a letter (an identifier, not an ARN)."
_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9])*", re.ASCII)


def owners(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that its owner has set, without AWS's and ours."""
    return {k: v for k, v in sorted(tags.items()) if not k.startswith((AWS_PREFIX, PREFIX))}


def member(cluster: str, number: int) -> str:
    """The identifier of one instance of a target cluster."""
    return f"{cluster}-{number}"


def slug(stack: str) -> str:
    """The stack's name as RDS allows it in a name: lower-case letters, digits and single hyphens.

    Where that loses something, a digest keeps two stacks that would now look alike apart.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", stack.lower()).strip("-")[:60].rstrip("-")
    if plain == stack:
        return plain
    return f"{plain}-{hashlib.sha256(stack.encode()).hexdigest()[:6]}".lstrip("-")
