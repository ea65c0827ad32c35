"""What the evidence establishes, what it does not, and whether it exists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.report.html import Html, section, table, tag

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """`holds`: True or False by the evidence, None without evidence."""

    claim: str
    holds: Callable[[Data], bool | None]
    rests_on: str
    not_established: str


def joined(data: Data) -> bool | None:
    return True if "exact_lsn" in data["records"] else None


def compared_equal(data: Data) -> bool | None:
    found = data["records"].get("verify")
    if found is None:
        return None
    if found["differing"]:
        return False
    return True if found["equal"] else None


def moved(data: Data) -> bool | None:
    return True if {"open", "cutover", "rollback"} & data["records"].keys() else None


def encrypted_as_asked(data: Data) -> bool | None:
    """Whether the target is encrypted under the stack's key, by AWS; None if unknown."""
    target = data["instances"]["target"]
    if not target or target.get("encrypted") is None:
        return None
    return bool(target["encrypted"]) and target.get("kms_key_arn") == data["kms_key_arn"]


CLAIMS = (
    Claim(
        "Nothing was lost or repeated where the changes join the snapshot",
        joined,
        "the bracket above: in every database, transactions before the position are in the copy, later ones are not",
        "the content of any row",
    ),
    Claim(
        "Both sides were equal, row by row",
        compared_equal,
        "equal numbers of rows and equal 128-bit digests of every table, read at one point of the log",
        "anything after that point; large objects and whatever is named as not compared. The digest finds accidents; "
        "it is no defence against someone who constructs rows to deceive it",
    ),
    Claim(
        "No write was lost when the applications were moved",
        moved,
        "end markers, committed after the side in use had been closed, were seen on the other side in every database "
        "before that one was opened",
        "that a client whose connection was ended knows whether its last commit happened: it has to look",
    ),
    Claim(
        "The target's storage is encrypted under the key asked for",
        encrypted_as_asked,
        "what AWS says about the instance and its key at the time of the report",
        "that copies made elsewhere (dumps, exports, logs shipped away) are encrypted",
    ),
)

SHOWN = {True: "holds", False: "DOES NOT HOLD", None: "no evidence yet"}


def claims(data: Data) -> Html:
    """The table of claims."""
    rows = [(c.claim, tag("strong", SHOWN[c.holds(data)]), c.rests_on, c.not_established) for c in CLAIMS]
    return section(
        "What this establishes, and what not",
        table(["Claim", "By the evidence here", "Rests on", "Does not establish"], rows),
    )
