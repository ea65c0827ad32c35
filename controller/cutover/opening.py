"""OPEN, the point of no return: one transaction on the arriving side writes the record and opens the databases.

Everything is executed beforehand and only the COMMIT is left when the watchdog has stood down: between those two nobody
would take the fence down, so it must be short. An answer that is lost on the way is asked for again; while it is
unknown, neither side is opened by us.
"""

import contextlib

import psycopg

from encryptdb.controller import epoch
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import connect_privileges, control
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db
from encryptdb.controller.records import CLEARED, Open
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import Failed

ASK_SECONDS = 10.0
"""How long we try to learn whether a COMMIT whose answer was lost has happened."""


class Unknown(Failed):
    """Nobody can say at the moment whether the other side is open."""


class NotOpened(Failed):
    """The transaction did not commit: the other side is closed as before."""


class Opening:
    """The transaction. `prepare` before the pause, `execute` in it, `commit` last."""

    def __init__(self, direction: Direction, number: int) -> None:
        self.direction, self.number = direction, number
        self.connection: Db = direction.to.connect(CONTROL_DATABASE, synchronous_commit="on")
        self.opened = False
        with direction.to.translated(CONTROL_DATABASE), self.connection.transaction():
            self.statements = connect_privileges.plan_reopen(self.connection, direction.databases)

    def execute(self, record: Open) -> None:
        """Do all but the COMMIT."""
        with self.direction.to.translated(CONTROL_DATABASE):
            self.connection.execute("BEGIN")
            self.connection.execute("DELETE FROM encryptdb.record WHERE key = ANY (%s)", [[r.key for r in CLEARED]])
            control.write(self.connection, record)
            if self.statements is not None:
                self.connection.execute(self.statements)

    def commit(self, clock: Clock) -> None:
        """OPEN. Raises NotOpened where it certainly did not happen, Unknown where nobody can tell."""
        try:
            self.connection.execute("COMMIT")
        except psycopg.Error as error:
            if not self._happened(clock):
                explained = self.direction.to.explain(error, CONTROL_DATABASE)
                raise NotOpened(explained.message, detail=explained.detail, hint=explained.hint) from None
        finally:
            self.connection.close()
        self.opened = True

    def close(self) -> None:
        """Give up the transaction, if it is not committed. Safe to repeat."""
        with contextlib.suppress(psycopg.Error):
            self.connection.close()

    def _happened(self, clock: Clock) -> bool:
        started = clock.monotonic()
        while True:
            self.direction.to.close()
            try:
                return epoch.epoch(control.records(self.direction.to)) >= self.number
            except Failed as problem:
                if clock.monotonic() - started > ASK_SECONDS:
                    raise Unknown(
                        f"Whether the {self.direction.to.side} was opened is not known.",
                        detail=(
                            f"Its answer to COMMIT was lost, and it does not answer now: {problem.detail} The"
                            f" {self.direction.from_.side} stays closed, because two open sides would be worse than"
                            " none."
                        ),
                        hint=(
                            f"Bring the {self.direction.to.side} back within reach, then run the command again: it"
                            " reads there what happened and completes it, or opens the side that was left."
                        ),
                    ) from None
                clock.sleep(0.2)
