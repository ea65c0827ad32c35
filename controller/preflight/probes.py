"""Privileges found out by doing: each statement runs in a transaction that is rolled back, or is a call that can
only fail, and the server's answer is kept. RDS grants some rights in ways that no catalog shows.

Nothing else sees a probe: no lock on a table, no visible row, no name of the owner's is used.
"""

from collections.abc import Mapping

import psycopg

from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.postgres.server import Db
from encryptdb.controller.preflight.contents import Refusal
from encryptdb.controller.preflight.facts import Role

PROBE = "encryptdb_preflight"

DATABASE_PROBES: Mapping[str, str] = {
    "schema": f"CREATE SCHEMA {PROBE}",
    "publish": f"CREATE PUBLICATION {PROBE} FOR ALL TABLES",
    # connect = false: nothing is contacted. The words after password= are required of a non-superuser, and void.
    "subscribe": f"CREATE SUBSCRIPTION {PROBE} CONNECTION 'host=127.0.0.1 password=void' PUBLICATION {PROBE} "
    "WITH (connect = false, enabled = false, create_slot = false, copy_data = false, slot_name = NONE)",
}
"""Run in each migrated database."""

# Privilege is looked at before the name: without it 42501, with it "origin does not exist".
ORIGIN_PROBES: Mapping[str, str] = {
    "origin advance": f"SELECT pg_replication_origin_advance('{PROBE}', '0/1')",
    "origin progress": f"SELECT pg_replication_origin_progress('{PROBE}', true)",
}
"""Run in each migrated database as well: EXECUTE is granted database by database."""


def database_probes(connection: Db) -> dict[str, Refusal | None]:
    """None for what may be done, the server's answer for what may not."""
    answers = {name: attempt(connection, statement) for name, statement in DATABASE_PROBES.items()}
    for name, statement in ORIGIN_PROBES.items():
        answer = attempt(connection, statement)
        answers[name] = answer if answer is not None and answer.privilege else None
    return answers


def server_probes(connection: Db, role: Role) -> dict[str, Refusal | None]:
    """The same for what belongs to the server as a whole."""
    return {"replication role": attempt(connection, role_statement(role))}


def role_statement(role: Role) -> str:
    """How `prepare` makes the role of the subscriptions, under a name that is not taken."""
    name = f"{REPLICATION_ROLE}_preflight"
    if role.rds:
        return f"CREATE ROLE {name} LOGIN; GRANT rds_replication TO {name}"
    return f"CREATE ROLE {name} LOGIN REPLICATION"


def attempt(connection: Db, statement: str) -> Refusal | None:
    """Run one statement and roll it back. None where the server did it. Raises where the connection is lost."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL lock_timeout = '2s'")
            connection.execute(statement.encode())
    except psycopg.Error as error:
        if connection.closed or error.sqlstate is None:
            raise
        said = error.diag.message_primary or str(error).splitlines()[0]
        return Refusal(error.sqlstate, said)
    return None
