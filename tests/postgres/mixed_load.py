"""A load of every kind of transaction there is: short, long, large, with subtransactions, aborted, prepared, TRUNCATE.

Each leaves its xid in `ledger`, and what it writes into `bag`, which has no key, is unlike anything else there: so the
rows themselves tell which transactions a server has, and whether one came twice.
"""

import itertools

import psycopg
from psycopg.rows import TupleRow

from tests.kit.servers import Server
from tests.kit.writers import Clients
from tests.postgres.rig import DATABASES

Db = psycopg.Connection[TupleRow]

NOTE_SQL = "INSERT INTO ledger (who, note) VALUES (%s, %s)"
BAG_SQL = "INSERT INTO bag VALUES (%s, %s)"
LARGE_SQL = "INSERT INTO ledger (who, note) SELECT %s, repeat('y', 150) FROM generate_series(1, %s)"

LONG_SECONDS = 0.3
"""How long a long transaction stays open: some thousand others commit meanwhile."""


class MixedLoad(Clients):
    """One client for each kind, all at once, until `stop`; and one more in the second database."""

    def __init__(self, server: Server) -> None:
        kinds = (short, long, large, subtransactions, aborted, prepared, truncating)
        self.server = server
        self.jobs = [(kind, who, DATABASES[0]) for who, kind in enumerate(kinds, 1)] + [(short, 20, DATABASES[1])]
        super().__init__(len(self.jobs))
        self.started()

    def at_work(self) -> bool:
        # The large one writes its first row last.
        everyone = "SELECT count(DISTINCT who) = %s FROM bag"
        return self.server.sql(everyone, [len(self.jobs) - 1], DATABASES[0]) == [(True,)]

    def work(self, number: int) -> None:
        kind, who, database = self.jobs[number]
        with self.server.connect(database) as db:
            for turn in itertools.count(1):
                if self.stopping.wait(0.02):
                    return
                kind(self, db, who, turn)


def short(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    with db.transaction():
        db.execute(NOTE_SQL, [who, "s" * (turn % 200)])
        db.execute(BAG_SQL, [who, turn])
    with db.transaction():
        db.execute(NOTE_SQL, [who, "counted"])
        db.execute("UPDATE counter SET n = n + 1 WHERE who = %s", [who % 10])


def long(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    """Open while many others commit: its rows stand in the WAL long before its commit record."""
    with db.transaction():
        db.execute(NOTE_SQL, [who, "begun"])
        db.execute(BAG_SQL, [who, turn])
        load.stopping.wait(LONG_SECONDS)
        db.execute(NOTE_SQL, [who, "ended"])


def large(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    """Spilled to disk, or streamed, by the decoding."""
    with db.transaction():
        db.execute(BAG_SQL, [who, turn])
        db.execute(LARGE_SQL, [who, 1500 if turn % 4 == 0 else 200])
    load.stopping.wait(0.3)


def subtransactions(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    with db.transaction():
        db.execute(NOTE_SQL, [who, "outer"])
        for part in range(3):
            with db.transaction(force_rollback=part == 1):
                db.execute(BAG_SQL, [who, turn * 3 + part])
                with db.transaction():
                    db.execute("UPDATE counter SET n = n + 1 WHERE who = %s", [who])


def aborted(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    with db.transaction(force_rollback=True):
        db.execute(NOTE_SQL, [who, "never"])
        db.execute("UPDATE counter SET n = -1 WHERE who = %s", [who])
    if turn % 10 == 1:
        with db.transaction():
            db.execute(NOTE_SQL, [who, "one that stays"])
            db.execute(BAG_SQL, [who, turn])


def prepared(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    """Every third is rolled back; all stay prepared for a while, so that a snapshot meets some."""
    db.execute("BEGIN")
    db.execute(NOTE_SQL, [who, "prepared"])
    db.execute(BAG_SQL, [who, turn])
    db.execute(f"PREPARE TRANSACTION 'p{turn}'")
    load.stopping.wait(0.05)
    db.execute(f"{'ROLLBACK' if turn % 3 == 0 else 'COMMIT'} PREPARED 'p{turn}'")


def truncating(load: MixedLoad, db: Db, who: int, turn: int) -> None:
    with db.transaction():
        db.execute(NOTE_SQL, [who, "scratch"])
        db.execute("INSERT INTO scratch VALUES (%s, %s)", [who, turn])
    if turn % 7 == 0:
        with db.transaction():
            db.execute(NOTE_SQL, [who, "truncated"])
            db.execute(BAG_SQL, [who, turn])
            db.execute("TRUNCATE scratch")
