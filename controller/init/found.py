"""What was found about one database, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass

from encryptdb.controller.init.references import Proxy, Record, SecretKey, Unread
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract import names


@dataclass(frozen=True)
class Alias:
    """An alias of a KMS key, and the id of that key."""

    name: str
    key_id: str


@dataclass(frozen=True)
class Found:
    """Everything that was found about one source, and what could not be read."""

    stack: str
    region: str
    source: Database
    holder: str | None
    """Whose code manages the parameter group or the source, by their tags; None if these do not show it."""
    aliases: tuple[Alias, ...] | None
    """None if they could not be listed."""
    records: tuple[Record, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    secrets: tuple[SecretKey, ...] = ()
    unread: tuple[Unread, ...] = ()


def holder(*tagged: Mapping[str, str]) -> str | None:
    """The tool whose code manages what has these tags. Only CloudFormation always sets one; others by convention."""
    for found in tagged:
        if "aws:cloudformation:stack-name" in found:
            return f"CloudFormation (stack {found['aws:cloudformation:stack-name']})"
        for key, value in found.items():
            text = f"{key}={value}"
            for tool in ("Terraform", "OpenTofu", "Pulumi"):
                if tool.lower() in text.lower() and not key.startswith(names.PREFIX):
                    return f"{tool} (tag {text})"
    return None
