"""One direction of the move: cutover goes from the source to the target, rollback the other way."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.postgres.connect_privileges import Named
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, REPLICATION_ROLE
from encryptdb.controller.postgres.server import Server

T = TypeVar("T")


@dataclass(frozen=True)
class Direction:
    """Both servers, and the names of the replication objects of this direction and of the rollback path.

    Changes go through a slot on `from_` to a subscription on `to`; the rollback path has its slot on `to`.
    `follow` is the command line that makes `to` follow `from_`, `next_attempt` the one that begins a new attempt.
    """

    name: Literal["cutover", "rollback"]
    from_: Server
    to: Server
    databases: tuple[Named, ...]
    publication: str
    forward: Callable[[int], str]
    back: Callable[[int], str]
    follow: str
    next_attempt: str

    @classmethod
    def cutover(cls, m: Migration, databases: Sequence[Named]) -> "Direction":
        return cls(
            "cutover", m.source, m.the_target, tuple(databases), m.names.publication, m.names.slot, m.names.back_slot,
            line(Next.REPLICATE, m.outputs), m.next_attempt,
        )  # fmt: skip

    @classmethod
    def rollback(cls, m: Migration, databases: Sequence[Named]) -> "Direction":
        return cls(
            "rollback", m.the_target, m.source, tuple(databases), m.names.publication, m.names.back_slot, m.names.slot,
            line(Next.CUTOVER, m.outputs), m.next_attempt,
        )  # fmt: skip

    @property
    def keep(self) -> list[str]:
        """Roles that may still connect to a closed side: the controller's, and the replication role."""
        return list(dict.fromkeys([self.from_.login.user, self.to.login.user, REPLICATION_ROLE]))

    def forward_slots(self) -> list[str]:
        return [self.forward(d.oid) for d in self.databases]

    def warm_up(self) -> None:
        """Reopen every connection that the pause needs, with synchronous commit: the fence lets no new one in."""
        for server in (self.from_, self.to):
            server.close()
        self._in_all("SELECT set_config('synchronous_commit', 'on', false)")

    def limit(self, seconds: float) -> None:
        """Set statement_timeout on these connections."""
        self._in_all(f"SELECT set_config('statement_timeout', '{int(seconds * 1000)}', false)")

    def _in_all(self, statement: str) -> None:
        for server in (self.from_, self.to):
            for database in (CONTROL_DATABASE, *(d.name for d in self.databases)):
                server.execute(statement, database=database)

    def cool_down(self) -> None:
        """Close them all: later connections have the usual limits."""
        self.from_.close()
        self.to.close()

    def in_each(self, work: Callable[[Named], T]) -> dict[str, T]:
        """Run `work` in all databases in parallel; the results by name. Raises the first error."""
        if len(self.databases) == 1:
            return {d.name: work(d) for d in self.databases}
        with ThreadPoolExecutor(max_workers=len(self.databases), thread_name_prefix="database") as pool:
            return dict(zip((d.name for d in self.databases), pool.map(work, self.databases), strict=True))
