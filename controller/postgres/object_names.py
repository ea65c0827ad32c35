"""The names of everything that encryptdb creates on a server."""

import hashlib
import re
from dataclasses import dataclass

CONTROL_DATABASE = "encryptdb"
"""Database with the journal, the evidence, the fence's record, the lock and the watchdog. Never published."""

SCHEMA = "encryptdb"
"""Schema of the control tables in the control database, and of the heartbeat in every migrated database."""

REPLICATION_ROLE = "encryptdb_replication"
"""Role the subscriptions log in with. Its password is random and stored in `pg_subscription` only."""

IDENTIFIER_BYTES = 63
"""NAMEDATALEN - 1."""

_SUFFIX_BYTES = len("_") + 10 + len("_back")


@dataclass(frozen=True)
class Names:
    """The names of one stack's replication objects."""

    publication: str

    @classmethod
    def of(cls, stack: str) -> "Names":
        return cls(publication=f"encryptdb_{_safe(stack)}")

    def slot(self, database_oid: int) -> str:
        """Slot on the source, and subscription on the target, for one database."""
        return f"{self.publication}_{database_oid}"

    def back_slot(self, database_oid: int) -> str:
        """Slot on the target, and subscription on the source, of the rollback path."""
        return f"{self.slot(database_oid)}_back"


def _safe(stack: str) -> str:
    """A stack name reduced to what a slot name may hold ([a-z0-9_]), short enough for the longest suffix."""
    plain = re.sub(r"[^a-z0-9_]", "_", stack.lower())
    room = IDENTIFIER_BYTES - len("encryptdb_") - _SUFFIX_BYTES
    if len(plain) <= room:
        return plain
    return f"{plain[: room - 9]}_{hashlib.sha256(stack.encode()).hexdigest()[:8]}"
