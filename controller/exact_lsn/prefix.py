"""Which transactions of a slot the copy holds: always the first ones, in the order of their commits. Pure."""

from dataclasses import dataclass

from encryptdb.controller.exact_lsn.evidence import Bracket
from encryptdb.controller.exact_lsn.messages import Begin
from encryptdb.controller.postgres.lsn import LSN


class NotAPrefix(Exception):
    """The copy holds a transaction that committed after one that it lacks: it cannot be a snapshot of this source."""


@dataclass
class Prefix:
    """Counts transactions in commit order and keeps the two at the join."""

    last: Begin | None = None
    first: Begin | None = None
    included: int = 0
    missing: int = 0

    def add(self, transaction: Begin, included: bool) -> None:
        """Take the next transaction. Raises NotAPrefix for an included one behind a missing one."""
        if included and self.first is not None:
            raise NotAPrefix(
                f"the copy lacks the transaction {self.first.xid} committed at {self.first.lsn}, but holds "
                f"{transaction.xid}, committed later at {transaction.lsn}"
            )
        if included:
            self.last, self.included = transaction, self.included + 1
        else:
            self.first, self.missing = self.first or transaction, self.missing + 1

    @property
    def starts_too_late(self) -> bool:
        """Whether the first transaction seen is missing already: the join lies before it."""
        return self.first is not None and self.last is None

    def bracket(self, ends: dict[LSN, LSN]) -> Bracket:
        """The bracket; `ends` gives the end of the last included commit record."""
        assert self.last is not None and self.first is not None, "both sides of the join were seen"
        return Bracket(self.last.lsn, ends[self.last.lsn], self.first.lsn, self.included, self.missing)
