"""Applications that write all the time and remember what was acknowledged to them; and what became of it."""

import threading
import time
from contextlib import suppress
from typing import Any

import psycopg

from tests.postgres.servers import Server


class Writers:
    """Applications that write one numbered row per transaction, remember each commit that was acknowledged, and come
    back at once when they are thrown out. Used as a context manager."""

    def __init__(self, server: Server, count: int = 3, *, database: str = "app", begin: str = "BEGIN READ WRITE",
                 user: str = "app", options: str = "", port: int | None = None,
                 reconnecting: bool = False) -> None:  # fmt: skip
        self.server, self.database, self.begin, self.user = server, database, begin, user
        self.options, self.port = options, port or server.port
        self.reconnecting = reconnecting
        """A new connection for each transaction."""
        self.acknowledged: set[tuple[str, int]] = set()
        self.uncertain: set[tuple[str, int]] = set()
        """Those whose COMMIT was cut off: they may be there or not."""
        self.errors: list[str] = []
        self.longest_wait = 0.0
        self._end = threading.Event()
        self._stamp = time.monotonic_ns()
        self._threads = [threading.Thread(target=self._write, args=(f"w{self._stamp}-{i}",)) for i in range(count)]

    def start(self) -> None:
        """Begin, without waiting until all of them write."""
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Writers":
        self.start()
        wait_for(lambda: len(self.acknowledged) > 5 * len(self._threads) or self._end.is_set(), "writers to write")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, who: str) -> None:
        n = 0
        db: psycopg.Connection[Any] | None = None
        while not self._end.is_set():
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


def lost_and_repeated(rows: list[tuple[Any, ...]], writers: Writers) -> tuple[list[Any], list[Any]]:
    """Acknowledged commits that are not in the ledger, and ledger rows that are there twice."""
    present = [(who, n) for who, n in rows]
    lost = sorted(writers.acknowledged - set(present))
    repeated = sorted({row for row in present if present.count(row) > 1}) if len(set(present)) != len(present) else []
    return lost, repeated


def wait_for(condition: Any, what: str, seconds: float = 30) -> None:
    """Poll until the condition holds; fails the test, saying what it waited for, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.02)
