"""Making a fresh PostgreSQL server look like an RDS one: its roles, its privileges, its closed database."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from encryptdb.lab.cluster import ADMIN, Login

HERE = Path(__file__).parent


def install(admin: Login, master: str, password: str, more: Sequence[Path] = ()) -> None:
    """Run roles.sql, make the database `rdsadmin`, and run database.sql and `more` where new databases come from.

    psycopg.Error when a statement fails.
    """
    with admin.connect("postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(ADMIN)))
    roles = (HERE / "roles.sql").read_text()
    with admin.connect(ADMIN) as connection:
        verifier = _verifier(connection, master, password)
        connection.execute(sql.SQL(roles).format(master=sql.Identifier(master), verifier=verifier))
    for database in ("template1", "postgres"):
        with admin.connect(database) as connection:
            for script in (HERE / "database.sql", *more):
                connection.execute(script.read_bytes())


def create_database(admin: Login, name: str, owner: str) -> None:
    with admin.connect(ADMIN) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))


def set_password(admin: Login, role: str, password: str) -> None:
    with admin.connect(ADMIN) as connection:
        verifier = _verifier(connection, role, password)
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), verifier))


def _verifier(connection: psycopg.Connection[TupleRow], role: str, password: str) -> sql.Literal:
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return sql.Literal(hashed.decode())
