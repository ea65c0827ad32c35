"""What is known about the end of recovery: candidates, brackets, and the conclusion that is kept. Only values."""

from dataclasses import dataclass

from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Bracket, Candidate, Proof, Trust
from encryptdb.controller.records import ExactLSN

__all__ = [
    "COMMIT_TIMESTAMPS", "ROW_VERSIONS", "Bracket", "Candidate", "Evidence", "ExactLSN", "Proof", "Silence", "Trust",
]  # fmt: skip


COMMIT_TIMESTAMPS = "commit timestamps"
ROW_VERSIONS = "row versions"
"""What a proof rests on. Commit timestamps prove by themselves; row versions only together with a candidate."""


@dataclass(frozen=True)
class Silence:
    """A candidate that was asked and says nothing usable, and why."""

    name: str
    why: str


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
