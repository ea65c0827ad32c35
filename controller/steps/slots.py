"""The slots on the source: from the moment they are there, it keeps every change."""

import threading

from psycopg import errors

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres.server import Db, Server
from encryptdb.controller.steps.step import observed_source
from encryptdb.controller.waiting import wait_until

SLOT_SECONDS = 900.0
"""How long making a slot may wait for the transactions that were running when it began."""

OLDEST_TRANSACTION_SQL = """
SELECT format('pid %s, %s, open since %s', pid, usename, xact_start) FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> ALL (%s) ORDER BY xact_start LIMIT 1
"""


def has_slots(m: Migration, observed: Observed) -> bool:
    return all(m.names.slot(d.oid) in observed_source(observed).slots for d in observed.migrated)


def make_slots(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        name = m.names.slot(database.oid)
        if name not in observed_source(observed).slots:
            connection = m.source.connect(database.name, statement_seconds=SLOT_SECONDS)
            try:
                with m.source.translated(database.name):
                    _make_slot(m, connection, name)
            finally:
                connection.close()


def _make_slot(m: Migration, connection: Db, name: str) -> None:
    """Make one slot, telling whose transaction it waits for. Interrupted, the server leaves no slot behind."""
    outcome: list[BaseException | None] = []

    def make() -> None:
        try:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    def waits_for() -> str:
        row = m.source.db("postgres").execute(OLDEST_TRANSACTION_SQL, [[connection.info.backend_pid]]).fetchone()
        return f"the oldest transaction that may be in the way: {row[0]}" if row else "no transaction is in the way"

    worker = threading.Thread(target=make, daemon=True)
    worker.start()
    try:
        wait_until(
            lambda: outcome or None,
            what=f"slot {name} (it waits for every transaction that is running now)",
            seconds=SLOT_SECONDS + 10,
            every=0.02,
            reporter=m.reporter,
            clock=m.clock,
            progress=waits_for,
        )
    except BaseException:
        connection.cancel_safe()
        worker.join(5)
        raise
    if outcome[0] is not None:
        raise outcome[0]


def drop_slots(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        drop_slot(m, m.names.slot(database.oid), m.source)


def drop_slot(m: Migration, name: str, server: Server) -> None:
    """Drop one slot, ending the walsender that holds it."""
    with server.translated("postgres"):
        db = server.db("postgres")

        def gone() -> bool | None:
            row = db.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone()
            if row is None:
                return True
            if row[0] is not None:
                db.execute("SELECT pg_terminate_backend(%s)", [row[0]])
                return None
            # A subscriber that is still enabled may take the slot between the look and the drop: then we look again.
            try:
                db.execute("SELECT pg_drop_replication_slot(%s)", [name])
            except errors.ObjectInUse:
                return None
            return True

        wait_until(gone, what=f"slot {name} to be free", seconds=60, every=0.05, reporter=m.reporter, clock=m.clock)
