"""All that writes while the migration goes on: ledger clients on both databases, and pgbench."""

from pathlib import Path

from demo import workload
from demo.access import Access
from demo.commands import Done
from demo.ledger import Client, Clients, longest_wait
from demo.load import BILLING, DATABASES, ORDERS
from demo.pgbench import Pgbench

CLIENTS = 3
"""Ledger clients for each database."""
PACE = 0.03
"""Seconds between two transactions of a ledger client."""


class Writers:
    """The demo's load. `pgbench` is None where it is left out: it takes the program, and a pooler to go through."""

    def __init__(self, directory: Path, access: Access, pgbench: Pgbench | None) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.removing = workload.Removing()
        loads = {ORDERS: workload.orders, BILLING: workload.billing}
        self.clients = Clients(
            [
                Client(
                    database=database,
                    number=number,
                    connect=access.connector(database),
                    workload=loads[database],
                    file=directory / f"{pooled}-{number}.acknowledged",
                    removing=self.removing,
                    pace=PACE,
                )
                for pooled, database in DATABASES.items()
                for number in range(1, CLIENTS + 1)
            ]
        )
        self.pgbench = pgbench

    def start(self) -> None:
        """Begin to write; returns when every ledger client has a commit acknowledged. Raises TimeoutError."""
        if self.pgbench:
            self.pgbench.start()
        self.clients.start()

    def stop(self) -> None:
        """Come to an end with nothing unknown and all figures exact. Raises TimeoutError."""
        self.clients.stop()
        if self.pgbench:
            self.pgbench.stop()

    def kill(self) -> None:
        """End at once; again is no error."""
        for client in self.clients.clients:
            client.stop()
        if self.pgbench:
            self.pgbench.kill()

    def waited(self, during: Done) -> float:
        """The longest wait in seconds of any writer between two commits, of the waits that touch the time `during`
        which a command ran. Of pgbench it is the longest transaction."""
        waits = [longest_wait(self.clients.acknowledged(database), *during.monotonic) for database in (ORDERS, BILLING)]
        if self.pgbench:
            begin, end = during.clock
            logged = self.pgbench.transactions()
            waits += [t.seconds for t in logged if t.ended >= begin and t.ended - t.seconds <= end]
        return max(waits)

    def failures(self, during: Done) -> list[str]:
        """What went wrong for the writers while a command ran, a sentence each."""
        begin, end = during.monotonic
        wrong = [
            f"transaction {f.seq} of client {f.client}: {f.message}"
            for f in self.clients.failures()
            if begin <= f.at <= end
        ]
        wrong += [client.gave_up for client in self.clients.clients if client.gave_up]
        if self.pgbench:
            wrong += self.pgbench.trouble(*during.clock)
        return wrong
