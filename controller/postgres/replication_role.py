"""The role that subscriptions log in with: one on each server, with a random password, until `retire` or `abandon`.

On RDS nobody may grant the REPLICATION attribute; membership in `rds_replication` takes its place.
"""

import secrets

from psycopg import errors, sql

from encryptdb.controller.postgres.login import Secret
from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.postgres.server import Db, Server

GRANTED_SQL = """
-- The databases on which the role was granted something by name.
SELECT DISTINCT datname FROM pg_database, aclexplode(datacl) a
 WHERE a.grantee = (SELECT oid FROM pg_roles WHERE rolname = %s) AND datname <> 'encryptdb'
"""

MAY_NOT_CONNECT_SQL = """
-- The databases, of those named, that the role may not connect to.
SELECT datname FROM pg_database WHERE oid = ANY (%s) AND NOT has_database_privilege(%s, oid, 'CONNECT')
"""

_ROLE = sql.Identifier(REPLICATION_ROLE)


def make(server: Server, database_oids: list[int]) -> None:
    """Create the role without a password, with CONNECT on these databases."""
    with server.transaction("postgres") as db:
        _create(db)
        # Only where PUBLIC may not connect, so that a default ACL stays NULL.
        for (database,) in db.execute(MAY_NOT_CONNECT_SQL, [database_oids, REPLICATION_ROLE]).fetchall():
            _grant_connect(db, database)


def set_password(server: Server) -> Secret:
    """Set a new random password and return it. The statement contains only its SCRAM verifier."""
    password = secrets.token_urlsafe(32)
    with server.translated("postgres"):
        db = server.db("postgres")
        verifier = db.pgconn.encrypt_password(password.encode(), REPLICATION_ROLE.encode(), b"scram-sha-256").decode()
        give = sql.SQL("ALTER ROLE {} PASSWORD {}").format(_ROLE, sql.Literal(verifier))
        try:
            db.execute(give)
        except errors.InsufficientPrivilege:
            # Below 16, only a superuser may alter a role with REPLICATION; but the role can be recreated. Walsenders
            # that run as the old one continue.
            with db.transaction():
                granted = [name for (name,) in db.execute(GRANTED_SQL, [REPLICATION_ROLE]).fetchall()]
                _drop(db)
                _create(db)
                db.execute(give)
                for database in granted:
                    _grant_connect(db, database)
    return Secret(password)


def drop(server: Server) -> None:
    """Drop the role and its grants, if it exists."""
    with server.transaction("postgres") as db:
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [REPLICATION_ROLE]).fetchone():
            _drop(db)


def _create(db: Db) -> None:
    if db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'rds_replication'").fetchone():
        db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(_ROLE))
        db.execute(sql.SQL("GRANT rds_replication TO {}").format(_ROLE))
    else:
        db.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION").format(_ROLE))


def _drop(db: Db) -> None:
    for (database,) in db.execute(GRANTED_SQL, [REPLICATION_ROLE]).fetchall():
        db.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(sql.Identifier(database), _ROLE))
    db.execute(sql.SQL("DROP ROLE {}").format(_ROLE))


def _grant_connect(db: Db, database: str) -> None:
    db.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), _ROLE))
