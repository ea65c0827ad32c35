"""OPEN, the point of no return: one transaction on the arriving side writes the record and opens the databases.

Only its COMMIT comes after the watchdog has ended: in between, nobody would take the fence down. If the answer to
COMMIT is lost, the record is read; until it can be, neither side is opened.
"""

import contextlib

import psycopg

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import connect_privileges, control
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Db
from encryptdb.controller.records import CLEARED, Open, Records
from encryptdb.controller.waiting import Clock
from encryptdb.stacks.contract.errors import AGAIN, Failed

ASK_SECONDS = 10.0
"""How long to try to read the record after the answer to COMMIT was lost."""


class Unknown(Failed):
    """Whether the other side is open could not be determined."""


class NotOpened(Failed):
    """The transaction did not commit: the other side is still closed."""


class Opening:
    """The transaction. `prepare` before the pause, `execute` in it, `commit` last."""

    def __init__(self, direction: Direction, number: int) -> None:
        self.direction, self.number = direction, number
        self.connection: Db = direction.to.connect(CONTROL_DATABASE, synchronous_commit="on")
        self.opened = False
        with direction.to.translated(CONTROL_DATABASE), self.connection.transaction():
            self.statements = connect_privileges.plan_reopen(self.connection, direction.databases)

    def execute(self, record: Open) -> None:
        """Execute everything but the COMMIT."""
        with self.direction.to.translated(CONTROL_DATABASE):
            self.connection.execute("BEGIN")
            self.connection.execute("DELETE FROM encryptdb.record WHERE key = ANY (%s)", [[r.key for r in CLEARED]])
            control.write(self.connection, record)
            if self.statements is not None:
                self.connection.execute(self.statements)

    def commit(self, clock: Clock) -> None:
        """OPEN. Raises NotOpened if it did not commit, Unknown if that cannot be determined."""
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
        """Roll back unless committed. Safe to repeat."""
        with contextlib.suppress(psycopg.Error):
            self.connection.close()

    def _happened(self, clock: Clock) -> bool:
        started = clock.monotonic()
        while True:
            self.direction.to.close()
            try:
                return (control.records(self.direction.to) or Records()).epoch >= self.number
            except Failed as problem:
                if clock.monotonic() - started > ASK_SECONDS:
                    raise Unknown(
                        f"Could not determine whether the {self.direction.to.side} was opened.",
                        detail=f"The answer to COMMIT was lost, and the server is unavailable now: {problem.detail} "
                        f"The {self.direction.from_.side} stays closed, so that never both sides are open.",
                        hint=f"Make the {self.direction.to.side} available, then: {AGAIN}",
                    ) from None
                clock.sleep(0.2)
