"""What the source holds before the story begins: roles, two databases full of awkward things, and the marker."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from demo.postgres import Connection, Login, scram_verifier

SQL = Path(__file__).parent / "sql"

ORDERS = "orders"
BILLING = 'Billing "EU"'
DATABASES: dict[str, str] = {"orders": ORDERS, "billing": BILLING}
"""The databases by the name they have in the pooler."""

APP = "app"
OWNER = "billing_owner"
"""Owns the second database, and is nobody the controller logs in as."""


@dataclass(frozen=True)
class Loaded:
    """The roles that applications use, and the string that is in rows of both databases and nowhere else."""

    app: Login
    owner: Login
    app_verifier: str
    marker: str

    def __repr__(self) -> str:
        return "Loaded(…)"


def load(master: Login, clients: int) -> Loaded:
    """Make the roles, load both databases as the application's role, and write the marker.

    `clients` ledger clients, numbered from 1, will write to each database.
    """
    app = master.as_user(APP, secrets.token_urlsafe(16))
    owner = master.as_user(OWNER, secrets.token_urlsafe(16))
    marker = f"encryptdb-marker-{secrets.token_hex(12)}"
    with master.connect("postgres") as connection:
        verifier = _create_role(connection, app)
        _create_role(connection, owner)
        # As with RDS, the master is no superuser: to read and to hand over what the roles own it must be a member.
        connection.execute(sql.SQL("GRANT {}, {} TO CURRENT_USER").format(sql.Identifier(APP), sql.Identifier(OWNER)))
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(BILLING), sql.Identifier(OWNER))
        )
    for database, files in ((ORDERS, ("ledger", "bench", "orders")), (BILLING, ("ledger", "billing"))):
        with master.connect(database) as connection:
            allow = sql.SQL("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {} TO {}")
            connection.execute(allow.format(sql.Identifier(database), sql.Identifier(APP)))
            connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(APP)))
        with app.connect(database) as connection, connection.transaction():
            for name in files:
                connection.execute((SQL / f"{name}.sql").read_bytes())
            connection.execute("INSERT INTO ledger.balance (client) SELECT generate_series(1, %s::int)", [clients])
    with app.connect(ORDERS) as connection:
        connection.execute("UPDATE shop.customer SET secret = %s WHERE id %% 100 = 0", [marker])
    with app.connect(BILLING) as connection:
        connection.execute("UPDATE payment.account SET secret = %s", [marker])
    return Loaded(app, owner, verifier, marker)


def _create_role(connection: Connection, login: Login) -> str:
    verifier = scram_verifier(connection, login.user, login.password)
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(login.user), sql.Literal(verifier))
    )
    return verifier
