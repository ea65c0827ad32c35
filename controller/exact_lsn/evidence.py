"""What is known about the end of recovery: candidates, brackets, and the conclusion that is kept. Only values."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from encryptdb.controller.postgres.lsn import LSN


class Trust(Enum):
    """How far a candidate can be believed by itself. None is believed against the proof."""

    EXACT = "exact"
    """The end of recovery by its very meaning."""
    HINT = "hint"
    """The end of recovery only until a checkpoint or a restart, and past it after a torn record."""


COMMIT_TIMESTAMPS = "commit timestamps"
ROW_VERSIONS = "row versions"
"""What a proof rests on. Commit timestamps prove by themselves; row versions only together with a candidate."""


@dataclass(frozen=True)
class Candidate:
    """One source that names an LSN. `says` is what it was found to say, for the operator."""

    name: str
    lsn: LSN
    trust: Trust
    says: str


@dataclass(frozen=True)
class Silence:
    """A candidate that was asked and says nothing usable, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Bracket:
    """What one database's slot shows: each LSN with `last_included < LSN <= first_missing` is exact for it.

    Both are the starts of commit records, because that is what the walsender compares a subscription's origin with
    (SnapBuildXactNeedsSkip). `included_end` is the end of the last included commit record: where the origin of an
    apply worker would stand after it. `included` and `missing` count the transactions that were looked at.
    """

    last_included: LSN
    included_end: LSN
    first_missing: LSN
    included: int
    missing: int

    def holds(self, lsn: LSN) -> bool:
        return self.last_included < lsn <= self.first_missing


@dataclass(frozen=True)
class Proof:
    """The brackets of all databases joined, and how each database came by its own."""

    last_included: LSN
    first_missing: LSN
    transactions: int
    by: str
    databases: dict[str, Bracket]


@dataclass(frozen=True)
class Evidence:
    """All that the decision rests on. `void` says why there is no proof; then `brackets` is empty.

    `slots` are the confirmed_flush_lsn of each database's slot; `source_flush` is the source's flushed end of WAL,
    read before the slots were read to it.
    """

    candidates: tuple[Candidate, ...]
    silent: tuple[Silence, ...]
    brackets: dict[str, Bracket]
    slots: dict[str, LSN]
    source_flush: LSN
    by: str = COMMIT_TIMESTAMPS
    void: str | None = None


@dataclass(frozen=True)
class ExactLSN:
    """The exact LSN, who named it, and the proof. `remarks` are for the operator."""

    value: LSN
    candidates: tuple[Candidate, ...]
    proof: Proof
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document kept in the control database and shown by `--json`."""
        return {
            "lsn": {
                "value": str(self.value),
                "candidates": [
                    {"name": w.name, "lsn": str(w.lsn), "trust": w.trust.value, "says": w.says,
                     "in_bracket": self.proof.last_included < w.lsn <= self.proof.first_missing}
                    for w in self.candidates
                ],
                "remarks": list(self.remarks),
            },
            "proof": {
                "last_included": str(self.proof.last_included),
                "first_missing": str(self.proof.first_missing),
                "transactions": self.proof.transactions,
                "by": self.proof.by,
                "databases": {name: _bracket_json(b) for name, b in self.proof.databases.items()},
            },
        }  # fmt: skip

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "ExactLSN":
        """Read back what `as_json` wrote. Raises KeyError or ValueError for anything else."""
        lsn, proof = document["lsn"], document["proof"]
        return cls(
            LSN.parse(lsn["value"]),
            tuple(Candidate(w["name"], LSN.parse(w["lsn"]), Trust(w["trust"]), w["says"]) for w in lsn["candidates"]),
            Proof(
                LSN.parse(proof["last_included"]),
                LSN.parse(proof["first_missing"]),
                proof["transactions"],
                proof["by"],
                {name: _bracket(b) for name, b in proof["databases"].items()},
            ),
            tuple(lsn["remarks"]),
        )


def _bracket_json(bracket: Bracket) -> dict[str, Any]:
    return {
        "last_included": str(bracket.last_included),
        "included_end": str(bracket.included_end),
        "first_missing": str(bracket.first_missing),
        "included": bracket.included,
        "missing": bracket.missing,
    }


def _bracket(document: dict[str, Any]) -> Bracket:
    return Bracket(
        LSN.parse(document["last_included"]),
        LSN.parse(document["included_end"]),
        LSN.parse(document["first_missing"]),
        document["included"],
        document["missing"],
    )
