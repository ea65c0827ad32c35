"""What was found out about one database: frozen values, ."""

from collections.abc import Mapping
from dataclasses import dataclass

from encryptdb.controller.survey.references import Proxy, Record, SecretKey, Unread
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract import names


@dataclass(frozen=True)
class Alias:
    """An alias of a KMS key, and the id of that key."""

    name: str
    key_id: str


@dataclass(frozen=True)
class Found:
    """All that a survey of one source found, and what it could not look at."""

    stack: str
    region: str
    source: Database
    holder: str | None
    """Whose code holds the parameter group or the source, as their tags tell; None where they tell nothing."""
    aliases: tuple[Alias, ...] | None
    """None where they could not be listed."""
    records: tuple[Record, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    secrets: tuple[SecretKey, ...] = ()
    unread: tuple[Unread, ...] = ()


def holder(*tagged: Mapping[str, str]) -> str | None:
    """Which tool's code holds what has these tags: CloudFormation says so itself, others by convention only."""
    for found in tagged:
        if "aws:cloudformation:stack-name" in found:
            return f"CloudFormation (stack {found['aws:cloudformation:stack-name']})"
        for key, value in found.items():
            text = f"{key}={value}"
            for tool in ("Terraform", "OpenTofu", "Pulumi"):
                if tool.lower() in text.lower() and not key.startswith(names.PREFIX):
                    return f"{tool} (tag {text})"
    return None
