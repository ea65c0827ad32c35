"""Ledger clients: writers that know which of their commits they were told about.

A client numbers its transactions. It writes down each acknowledged commit in a local file before it goes on. When the
connection breaks, it cannot know whether the last commit happened: it reconnects, asks, and goes on accordingly. So at
the end the files and the database must agree to the row.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

from demo.postgres import Connection
from demo.workload import Removing, Workload

GIVE_UP = 60.0
"""Seconds after which a client that can get nothing committed stops trying."""


@dataclass(frozen=True)
class Acknowledged:
    """One commit that a client knows of. `at` is time.monotonic() in seconds when it learnt of it; `asked` tells that
    the connection broke and it found the commit by asking."""

    client: int
    seq: int
    at: float
    asked: bool = False


@dataclass(frozen=True)
class Failure:
    """One transaction that ended with an error, at time.monotonic() seconds. `began` is False where there was no
    connection to begin one on."""

    client: int
    seq: int
    at: float
    began: bool
    message: str


def amount(client: int, seq: int) -> int:
    """What transaction `seq` of `client` adds to the client's balance: known without asking the database."""
    return (client * 31 + seq * 17) % 101 - 50


@dataclass
class Client:
    """One writer, in a thread of its own. Its results may be read once the thread has ended."""

    database: str
    number: int
    connect: Callable[[], Connection]
    workload: Workload
    file: Path
    removing: Removing
    pace: float
    """Seconds between two transactions."""
    failures: list[Failure] = field(default_factory=list)
    gave_up: str | None = None
    last_acknowledged: float = 0.0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._random = Random(f"{self.database}/{self.number}")
        self.thread = threading.Thread(target=self._run, name=f"ledger {self.database}/{self.number}", daemon=True)

    def stop(self) -> None:
        """Ask for the end. The thread ends when the transaction that is under way is known to be committed or not."""
        self._stopping.set()

    def _run(self) -> None:
        seq = 0
        with self.file.open("a", encoding="utf-8", buffering=1) as log:
            while not self._stopping.is_set():
                seq += 1
                asked = self._commit(seq)
                if asked is None:
                    break
                self.last_acknowledged = time.monotonic()
                log.write(f"{self.number} {seq} {self.last_acknowledged!r} {int(asked)}\n")
                self._stopping.wait(self.pace)
        self._disconnect()

    def _commit(self, seq: int) -> bool | None:
        """Commit transaction `seq` exactly once, also when asked to stop meanwhile: nothing may be left unknown.
        True if it took asking to know of the commit, None if the client gave up."""
        deadline = time.monotonic() + GIVE_UP
        unknown = False
        while True:
            began = False
            try:
                if self._connection is None:
                    self._connection = self.connect()
                if unknown and self._is_committed(seq):
                    return True
                began = True
                self._transaction(self._connection, seq)
                return False
            except psycopg.Error as error:
                unknown = unknown or began
                # Trying to connect again and again is one failure, not hundreds.
                if began or not self.failures or self.failures[-1].seq != seq:
                    self.failures.append(Failure(self.number, seq, time.monotonic(), began, one_line(error)))
                self._disconnect()
            if time.monotonic() > deadline:
                self.gave_up = f"{self.database}/{self.number}: transaction {seq} not committed in {GIVE_UP:.0f} s"
                return None
            time.sleep(0.05)

    def _is_committed(self, seq: int) -> bool:
        assert self._connection is not None
        query = "SELECT FROM ledger.entry WHERE client = %s AND seq = %s"
        return self._connection.execute(query, [self.number, seq]).fetchone() is not None

    def _transaction(self, connection: Connection, seq: int) -> None:
        with connection.transaction():
            # First, so that the same transaction still being committed by a lost session makes this one wait for it.
            connection.execute(
                "INSERT INTO ledger.entry (client, seq, amount, note) VALUES (%s, %s, %s, %s)",
                [self.number, seq, amount(self.number, seq), f"{self.database}: {seq}"],
            )
            connection.execute("INSERT INTO ledger.tally VALUES (%s, %s)", [self.number, seq])
            connection.execute(
                "UPDATE ledger.balance SET commits = commits + 1, total = total + %s WHERE client = %s",
                [amount(self.number, seq), self.number],
            )
            self.workload(connection, self.number, self._random, bool(self.removing))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def one_line(error: BaseException) -> str:
    """An error's message on one line, without anything of the connection string."""
    return " ".join(str(error).split()) or type(error).__name__


class Clients:
    """All ledger clients of the demo, as one writer."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients

    def start(self) -> None:
        """Start every client; returns when each has a commit acknowledged. Raises TimeoutError after 30 s."""
        started = time.monotonic()
        for client in self.clients:
            client.thread.start()
        self.wait_until_all_write(started, 30)

    def wait_until_all_write(self, since: float, seconds: float) -> None:
        """Return when every client had a commit acknowledged after `since` (time.monotonic()). Raises TimeoutError,
        which names the clients and their last error, after `seconds`."""
        deadline = time.monotonic() + seconds
        while waiting := [c for c in self.clients if c.last_acknowledged <= since]:
            if time.monotonic() > deadline:
                last = next((f.message for c in waiting for f in reversed(c.failures)), "no error")
                names = ", ".join(f"{c.database}/{c.number}" for c in waiting)
                raise TimeoutError(f"no commit acknowledged within {seconds:.0f} s to {names}; last error: {last}")
            time.sleep(0.02)

    def stop(self, seconds: float = 30) -> None:
        """Stop every client, each with nothing left unknown. Raises TimeoutError after `seconds`."""
        for client in self.clients:
            client.stop()
        deadline = time.monotonic() + seconds
        for client in self.clients:
            if client.thread.is_alive():
                client.thread.join(max(0.0, deadline - time.monotonic()))
        if hanging := [c.thread.name for c in self.clients if c.thread.is_alive()]:
            raise TimeoutError(f"still not at the end of their transaction after {seconds:.0f} s: {', '.join(hanging)}")

    def acknowledged(self, database: str) -> list[Acknowledged]:
        """What the files of the clients of `database` say."""
        return [a for c in self.clients if c.database == database for a in read(c.file)]

    def failures(self) -> list[Failure]:
        """All failed transactions, in order of time."""
        return sorted((f for c in self.clients for f in c.failures), key=lambda f: f.at)


def read(file: Path) -> Iterable[Acknowledged]:
    """The acknowledged commits that a client's file holds, in order."""
    for line in file.read_text(encoding="utf-8").splitlines():
        client, seq, at, asked = line.split()
        yield Acknowledged(int(client), int(seq), float(at), asked == "1")


def longest_wait(commits: Iterable[Acknowledged], begin: float, end: float) -> float:
    """The longest time in seconds that one client of `commits` (of one database) waited between two acknowledged
    commits, of the waits that touch the time from `begin` to `end`."""
    longest, previous = 0.0, dict[int, float]()
    for commit in sorted(commits, key=lambda c: c.at):
        before = previous.get(commit.client)
        if before is not None and before <= end and commit.at >= begin:
            longest = max(longest, commit.at - before)
        previous[commit.client] = commit.at
    return longest
