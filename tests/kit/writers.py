"""Applications that write all the time and remember what was acknowledged to them; and what became of it."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import psycopg
from psycopg import sql

from tests.kit.servers import Server
from tests.kit.waits import wait_for

Connection = psycopg.Connection[Any]


class Clients:
    """`count` threads that `work` until `stop`. Used as a context manager, which waits until all of them are at work.

    What a client raises is kept in `broken`, and fails `stop`.
    """

    def __init__(self, count: int) -> None:
        self.stopping = threading.Event()
        self.broken: list[BaseException] = []
        self.threads = [threading.Thread(target=self._guarded, args=(n,), daemon=True) for n in range(count)]

    def work(self, number: int) -> None:
        """Write as client `number`, until `stopping` is set."""
        raise NotImplementedError

    def at_work(self) -> bool:
        """Whether every client has written."""
        return True

    def start(self) -> None:
        """Begin, without waiting until all of them write."""
        for thread in self.threads:
            thread.start()

    def started(self) -> Self:
        """Begin, and return when all of them have written."""
        self.start()
        wait_for(lambda: self.at_work() or self.broken or self.stopping.is_set(), "every client to be at work")
        return self

    def stop(self) -> None:
        """End it, and return when the last commit has been answered. Safe to call twice."""
        self.stopping.set()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(60)
        assert not self.broken, self.broken

    def __enter__(self) -> Self:
        return self.started()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _guarded(self, number: int) -> None:
        try:
            self.work(number)
        except BaseException as error:
            self.broken.append(error)


class Writers(Clients):
    """Write one numbered row of `ledger` per transaction, remember each commit that was acknowledged, and come back at
    once when thrown out."""

    def __init__(self, server: Server, count: int = 3, *, database: str = "app", begin: str = "BEGIN READ WRITE",
                 user: str = "app", options: str = "", port: int | None = None,
                 reconnecting: bool = False) -> None:  # fmt: skip
        super().__init__(count)
        self.database, self.begin, self.user = database, begin, user
        self.options, self.port = options, port or server.port
        self.reconnecting = reconnecting
        """A new connection for each transaction."""
        self.acknowledged: set[tuple[str, int]] = set()
        self.uncertain: set[tuple[str, int]] = set()
        """Those whose COMMIT was cut off: they may be there or not."""
        self.errors: list[str] = []
        self.longest_wait = 0.0
        self._stamp = time.monotonic_ns()

    def at_work(self) -> bool:
        return len(self.acknowledged) > 5 * len(self.threads)

    def work(self, number: int) -> None:
        who, n = f"w{self._stamp}-{number}", 0
        db: Connection | None = None
        while not self.stopping.is_set():
            n += 1
            began = time.monotonic()
            committing = False
            try:
                if db is None or db.closed:
                    db = psycopg.connect(
                        host="127.0.0.1", port=self.port, user=self.user, dbname=self.database, autocommit=True,
                        options=self.options, connect_timeout=10, prepare_threshold=None,
                    )  # fmt: skip
                db.execute(self.begin)
                db.execute("INSERT INTO ledger (who, n) VALUES (%s, %s)", [who, n])
                committing = True
                db.execute("COMMIT")
                self.acknowledged.add((who, n))
                self.longest_wait = max(self.longest_wait, time.monotonic() - began)
                if self.reconnecting:
                    db.close()
                time.sleep(0.003)
            except psycopg.Error as error:
                if committing:
                    self.uncertain.add((who, n))
                self.errors.append(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
                if db is not None:
                    with suppress(psycopg.Error):
                        db.close()
                db = None
                time.sleep(0.002)


def lost_and_repeated(rows: Sequence[tuple[Any, ...]], writers: Writers) -> tuple[list[Any], list[Any]]:
    """Acknowledged commits that are not in the ledger, and ledger rows that are there twice."""
    present = [(who, n) for who, n in rows]
    lost = sorted(writers.acknowledged - set(present))
    repeated = sorted({row for row in present if present.count(row) > 1}) if len(set(present)) != len(present) else []
    return lost, repeated


class Application(Clients):
    """One client that writes the numbers 1, 2, 3 … and asks the table about a commit whose answer was lost.

    `connect` is called for each connection, so that a test can lead it elsewhere; `row` is what each number is written
    with: columns and values of `table` apart from `n`. `written` are the numbers that are known to be there.
    """

    def __init__(
        self, connect: Callable[[], Connection], table: str = "ledger", n: str = "n", *, pause: float = 0.002,
        **row: Any
    ) -> None:  # fmt: skip
        super().__init__(1)
        self.connect, self.pause, self.row = connect, pause, row
        self.written: list[int] = []
        columns = sql.SQL(", ").join(map(sql.Identifier, (*row, n)))
        places = sql.SQL(", ").join(sql.Placeholder() * (len(row) + 1))
        mine = sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in row)])
        self._insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, places)
        self._last = sql.SQL("SELECT max({}) FROM {} WHERE {}").format(sql.Identifier(n), sql.Identifier(table), mine)

    def at_work(self) -> bool:
        return bool(self.written)

    def write(self, db: Connection) -> None:
        """One row more."""
        n = len(self.written) + 1
        db.execute(self._insert, [*self.row.values(), n])
        self.written.append(n)

    def work(self, number: int) -> None:
        while not self.stopping.is_set():
            try:
                with self.connect() as db:
                    (last,) = db.execute(self._last, [*self.row.values()]).fetchone() or (None,)
                    self.written += range(len(self.written) + 1, (last or 0) + 1)
                    while not self.stopping.wait(self.pause):
                        self.write(db)
            except (psycopg.Error, OSError):
                self.stopping.wait(0.05)
