"""What AWS's own agents do inside a server: one light session of rdsadmin, in its own database."""

import logging
import threading

import psycopg
from psycopg import sql

from encryptdb.lab.cluster import ADMIN, Login

log = logging.getLogger(__name__)

EVERY = 0.2
"""Seconds between two looks."""

# Membership in rds_replication is the REPLICATION right on RDS. PostgreSQL has only the role attribute, which no
# membership gives and no event trigger can follow (roles are shared objects), so the agent carries it over.
ROLES = """
SELECT rolname, rolreplication FROM pg_roles
WHERE NOT rolsuper AND rolname !~ '^(pg_|rds)' AND pg_has_role(oid, 'rds_replication', 'MEMBER') <> rolreplication
"""

# A restored server hands out transaction ids of its own before its user arrives.
TRANSACTIONS = 5


class Agent:
    """Runs from `start` to `stop`; a lost connection is made again."""

    def __init__(self, login: Login) -> None:
        self._login, self._stop = login, threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"agent {self._login.host}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the session; at once visible, at the latest after 10 s gone."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._login.connect(ADMIN) as connection:
                    while not self._stop.wait(EVERY):
                        give_replication(connection)
            except psycopg.Error as error:
                log.debug("agent of %s: %s", self._login.host, error)
                self._stop.wait(EVERY)


def give_replication(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Bring the REPLICATION attribute into line with membership in rds_replication."""
    for name, has in connection.execute(ROLES).fetchall():
        word = sql.SQL("NOREPLICATION" if has else "REPLICATION")
        connection.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(str(name)), word))


def hand_out_transaction_ids(login: Login) -> None:
    """Use up a few transaction ids, as the agents of a freshly restored RDS instance do."""
    with login.connect(ADMIN) as connection:
        for _ in range(TRANSACTIONS):
            connection.execute("SELECT txid_current()")
