"""One direction of the move: cutover goes from the source to the target, rollback the other way."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, REPLICATION_ROLE
from encryptdb.controller.postgres.server import Server

T = TypeVar("T")


@dataclass(frozen=True)
class Direction:
    """From where to where, and what the replication objects of this direction and of the rollback path are called.

    Changes go through a slot on `from_` to a subscription on `to`; the rollback path has its slot on `to`.
    """

    name: Literal["cutover", "rollback"]
    from_: Server
    to: Server
    databases: tuple[Named, ...]
    publication: str
    forward: Callable[[int], str]
    back: Callable[[int], str]

    @classmethod
    def cutover(cls, m: Migration, databases: Sequence[Named]) -> "Direction":
        names = m.names
        return cls("cutover", m.source, m.the_target, tuple(databases), names.publication, names.slot, names.back_slot)

    @classmethod
    def rollback(cls, m: Migration, databases: Sequence[Named]) -> "Direction":
        names = m.names
        return cls("rollback", m.the_target, m.source, tuple(databases), names.publication, names.back_slot, names.slot)

    @property
    def keep(self) -> list[str]:
        """Roles that a closed side still lets in: those we log in with, and the replication role."""
        return list(dict.fromkeys([self.from_.login.user, self.to.login.user, REPLICATION_ROLE]))

    def forward_slots(self) -> list[str]:
        return [self.forward(d.oid) for d in self.databases]

    def warm_up(self) -> None:
        """Open every connection that the pause needs, anew, and make each commit on them wait for the disk: inside
        the pause none could be opened any more."""
        for server in (self.from_, self.to):
            server.close()
        self._in_all("SELECT set_config('synchronous_commit', 'on', false)")

    def limit(self, seconds: float) -> None:
        """No statement on these connections may take longer."""
        self._in_all(f"SELECT set_config('statement_timeout', '{int(seconds * 1000)}', false)")

    def _in_all(self, statement: str) -> None:
        for server in (self.from_, self.to):
            for database in (CONTROL_DATABASE, *(d.name for d in self.databases)):
                server.execute(statement, database=database)

    def cool_down(self) -> None:
        """Close them all, so that whoever comes next gets connections with the usual limits."""
        self.from_.close()
        self.to.close()

    def in_each(self, work: Callable[[Named], T]) -> dict[str, T]:
        """Do the same in every database, at the same time, and return the results by name. Raises the first error."""
        if len(self.databases) == 1:
            return {d.name: work(d) for d in self.databases}
        with ThreadPoolExecutor(max_workers=len(self.databases), thread_name_prefix="database") as pool:
            return dict(zip((d.name for d in self.databases), pool.map(work, self.databases), strict=True))
