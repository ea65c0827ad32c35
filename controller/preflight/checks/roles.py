"""What the controller's role may do, and who else uses it.

Privileges are found out by doing, because RDS grants some in ways that no catalog shows: each statement runs in a
transaction that is rolled back, or is a call that can only fail, and the server's answer is kept. Nothing else sees a
probe: no lock on a table, no visible row, no name of the owner's is used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

from encryptdb.controller.observed_server import Database
from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.postgres.server import Db
from encryptdb.controller.preflight.check import Findings, blocks, check, database, server, warns
from encryptdb.controller.preflight.checks.databases import RIGHTS
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, row, rows
from encryptdb.controller.preflight.text import ident, lines, listed


@dataclass(frozen=True)
class Role:
    """The controller's role on one server; memberships count as PostgreSQL counts them for the privilege at hand."""

    name: str
    inherit: bool
    create_database: bool
    may_replicate: bool
    may_signal: bool
    may_see: bool
    may_read_settings: bool
    rds: bool


ROLE_SQL = """
-- Only the role's own attributes count for CREATEDB, REPLICATION and superuser: they are never inherited. On RDS,
-- membership in rds_replication stands for REPLICATION.
SELECT r.rolname::text AS name, r.rolinherit AS inherit, r.rolcreatedb OR r.rolsuper AS create_database,
       r.rolreplication OR r.rolsuper
         OR COALESCE(pg_has_role(to_regrole('rds_replication'), 'MEMBER'), false) AS may_replicate,
       pg_has_role('pg_signal_backend', 'USAGE') AS may_signal,
       pg_has_role('pg_read_all_stats', 'USAGE') AS may_see,
       pg_has_role('pg_read_all_settings', 'USAGE') AS may_read_settings,
       to_regrole('rds_superuser') IS NOT NULL AS rds
  FROM pg_roles r WHERE r.rolname = current_user
"""
ROLE = Reading("the controller's role", "server", row(Role, ROLE_SQL))


@dataclass(frozen=True)
class RoleUser:
    database: str
    application: str


ROLE_USERS_SQL = """
-- Sessions of the controller's role that are not the controller's.
SELECT datname::text AS database, COALESCE(NULLIF(application_name, ''), 'no application_name') AS application
  FROM pg_stat_activity
 WHERE usename = current_user AND backend_type = 'client backend' AND application_name NOT LIKE 'encryptdb %'
   AND datname IS NOT NULL
"""
ROLE_USERS = Reading("other sessions of the controller's role", "server", rows(RoleUser, ROLE_USERS_SQL))


@dataclass(frozen=True)
class Refusal:
    """The server's answer to a probe that failed: SQLSTATE and its first line."""

    sqlstate: str
    message: str

    @property
    def privilege(self) -> bool:
        """Whether a missing privilege is the reason (insufficient_privilege)."""
        return self.sqlstate == "42501"

    def remedy(self, grants: str) -> str:
        """`grants`, where they are what is missing."""
        other = f"-- Not a missing privilege (SQLSTATE {self.sqlstate}): see what raised it, e.g. an event trigger."
        return grants if self.privilege else other


Probe = Reading[Refusal | None]
PROBE = "encryptdb_preflight"


def attempt(connection: Db, statement: str) -> Refusal | None:
    """Run one statement and roll it back. None where the server did it, and on a replica, which takes no write. Raises
    where the connection is lost."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL lock_timeout = '2s'")
            connection.execute(statement.encode())
    except psycopg.errors.ReadOnlySqlTransaction:
        return None
    except psycopg.Error as error:
        if connection.closed or error.sqlstate is None:
            raise
        return Refusal(error.sqlstate, error.diag.message_primary or str(error).splitlines()[0])
    return None


def _make_role(connection: Db) -> Refusal | None:
    """As prepare makes the role of the subscriptions, under a name that is not taken."""
    name = f"{REPLICATION_ROLE}_preflight"
    if row(Role, ROLE_SQL)(connection).rds:
        return attempt(connection, f"CREATE ROLE {name} LOGIN; GRANT rds_replication TO {name}")
    return attempt(connection, f"CREATE ROLE {name} LOGIN REPLICATION")


def _probe(name: str, statement: str) -> Probe:
    return Reading(f"probe: {name}", "database", lambda connection: attempt(connection, statement))


MAKE_ROLE: Probe = Reading("probe: replication role", "server", _make_role)
SCHEMA = _probe("schema", f"CREATE SCHEMA {PROBE}")
PUBLISH = _probe("publish", f"CREATE PUBLICATION {PROBE} FOR ALL TABLES")
SUBSCRIBE = _probe(
    "subscribe",
    # connect = false: nothing is contacted. The words after password= are required of a non-superuser, and void.
    f"CREATE SUBSCRIPTION {PROBE} CONNECTION 'host=127.0.0.1 password=void' PUBLICATION {PROBE} "
    "WITH (connect = false, enabled = false, create_slot = false, copy_data = false, slot_name = NONE)",
)
ORIGINS: Mapping[str, Probe] = {
    # Privilege is looked at before the name: without it 42501, with it "origin does not exist".
    "pg_replication_origin_advance(text, pg_lsn)": _probe(
        "advance", f"SELECT pg_replication_origin_advance('{PROBE}', '0/1')"
    ),
    "pg_replication_origin_progress(text, boolean)": _probe(
        "progress", f"SELECT pg_replication_origin_progress('{PROBE}', true)"
    ),
}


def grant(role: str, server: ServerFacts) -> str:
    """Membership that counts without SET ROLE."""
    me = ident(server.user)
    if server.major >= 16:
        return f"GRANT {ident(role)} TO {me} WITH INHERIT TRUE, SET TRUE;"
    return f"GRANT {ident(role)} TO {me};" + ("" if server[ROLE].inherit else f"\nALTER ROLE {me} INHERIT;")


def superuser(server: ServerFacts) -> str:
    """RDS has no superuser: rds_superuser stands for it."""
    return grant("rds_superuser", server) if server[ROLE].rds else f"ALTER ROLE {ident(server.user)} SUPERUSER;"


@check(server, "warns", reads=(ROLE_USERS,), sides="source", stages="until OPEN")
def own_role(facts: Facts, server: ServerFacts) -> Findings:
    """No application logs in as the controller's role. The fence keeps that role in, so such an application would
    go on writing."""
    moving = {d.name for d in server.moving}
    users = [u for u in server[ROLE_USERS] if u.database in moving]
    if users:
        where = listed(sorted({f"{u.application} in {u.database}" for u in users}))
        yield warns(
            f"{len(users)} other sessions log in as {server.user}: {where}.",
            "A role that only the controller uses: the fence keeps it in, so these clients would go on writing.",
            "export ENCRYPTDB_SOURCE_USER=ROLE ENCRYPTDB_SOURCE_PASSWORD=PASSWORD",
        )


@check(server, "blocks", reads=(ROLE,))
def monitoring(facts: Facts, server: ServerFacts) -> Findings:
    """The role sees and ends sessions of others. Membership in `pg_signal_backend`, `pg_read_all_stats` and
    `pg_read_all_settings`: a session that the fence cannot see goes on writing."""
    missing = memberships(server[ROLE])
    if missing:
        yield blocks(
            f"The role {server.user} is not a member of {', '.join(missing)}.",
            "The fence must see every session and end it; some settings are hidden otherwise.",
            lines(grant(name, server) for name in missing),
        )


def memberships(role: Role) -> list[str]:
    """Predefined roles whose privileges the role lacks."""
    needed = {
        "pg_signal_backend": role.may_signal,
        "pg_read_all_stats": role.may_see,
        "pg_read_all_settings": role.may_read_settings,
    }
    return [name for name, has in needed.items() if not has]


def missing_for_fence(connection: Db, databases: Iterable[Database]) -> list[str]:
    """The roles that ours is not a member of and must be to fence these databases; read now."""
    owned = {r.oid for r in RIGHTS.read(connection) if r.owned}
    owners = [f"the owner of database {d.name}, {d.owner}" for d in databases if d.oid not in owned]
    return memberships(ROLE.read(connection)) + owners


@check(server, "blocks", reads=(ROLE,))
def replication(facts: Facts, server: ServerFacts) -> Findings:
    """The role may make replication slots. REPLICATION, or on RDS membership in `rds_replication`."""
    if not server[ROLE].may_replicate:
        me = ident(server.user)
        yield blocks(
            f"The role {server.user} may not make replication slots.",
            "REPLICATION (on RDS: membership in rds_replication).",
            f"GRANT rds_replication TO {me} WITH ADMIN OPTION;"
            if server[ROLE].rds
            else f"ALTER ROLE {me} REPLICATION;",
        )


@check(server, "blocks", reads=(ROLE, MAKE_ROLE))
def replication_role(facts: Facts, server: ServerFacts) -> Findings:
    """The role may make the role of the subscriptions (tried). Subscriptions log in with a role of their own, so
    that no password of the owner's is stored in them."""
    refusal, me = server[MAKE_ROLE], ident(server.user)
    if refusal is not None:
        grants = f"ALTER ROLE {me} {'CREATEROLE REPLICATION' if server.major >= 16 else 'SUPERUSER'};"
        if server[ROLE].rds:
            grants = f"ALTER ROLE {me} CREATEROLE;\nGRANT rds_replication TO {me} WITH ADMIN OPTION;"
        yield blocks(
            f"CREATE ROLE was refused: {refusal.message}.",
            "A role with REPLICATION that the subscriptions log in with.",
            refusal.remedy(grants),
        )


@check(server, "blocks", reads=(ROLE,), sides="source", stages="before prepare")
def create_database(facts: Facts, server: ServerFacts) -> Findings:
    """The role may make the control database."""
    if server.observed.records is None and not server[ROLE].create_database:
        yield blocks(
            f"The role {server.user} may not make databases.",
            "CREATEDB, for the control database encryptdb.",
            f"ALTER ROLE {ident(server.user)} CREATEDB;",
        )


@check(database, "blocks", reads=(SCHEMA,))
def schema(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may make a schema in each database (tried). The heartbeat is in it."""
    refusal = database[SCHEMA]
    if refusal is not None and database.objects is not None and not database.objects.heartbeat:
        yield blocks(
            f"CREATE SCHEMA was refused: {refusal.message}.",
            "CREATE on the database, for the heartbeat's schema.",
            refusal.remedy(f"GRANT CREATE ON DATABASE {ident(database.name)} TO {ident(server.user)};"),
        )


@check(database, "blocks", reads=(ROLE, PUBLISH))
def publish(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may publish all tables (tried)."""
    refusal = database[PUBLISH]
    made = database.objects is not None and facts.names.publication in database.objects.publications
    if refusal is not None and not (made and server.side == "source"):
        yield blocks(
            f"CREATE PUBLICATION … FOR ALL TABLES was refused: {refusal.message}.",
            "The privilege to publish all tables (on RDS: rds_superuser; elsewhere a superuser).",
            refusal.remedy(superuser(server)),
        )


@check(database, "blocks", reads=(ROLE, SUBSCRIBE))
def subscribe(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may make a subscription (tried). From 16 on by `pg_create_subscription`. The copy has the roles and
    privileges of the source."""
    refusal, me = database[SUBSCRIBE], ident(server.user)
    if refusal is not None:
        grants = f"GRANT pg_create_subscription TO {me};\nGRANT CREATE ON DATABASE {ident(database.name)} TO {me};"
        yield blocks(
            f"CREATE SUBSCRIPTION was refused: {refusal.message}.",
            "The privilege to make a subscription in the copy of this database.",
            refusal.remedy(grants if server.major >= 16 else superuser(server)),
        )


@check(database, "blocks", reads=tuple(ORIGINS.values()))
def origins(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may advance a replication origin (tried). `pg_replication_origin_advance` and `_progress` set the
    subscription to the exact LSN."""
    answers = {function: database[probe] for function, probe in ORIGINS.items()}
    missing = [function for function, refusal in answers.items() if refusal is not None and refusal.privilege]
    if missing:
        yield blocks(
            f"The role {server.user} may not call {' and '.join(missing)}.",
            "EXECUTE on both: they set the copy's subscription to the exact LSN.",
            lines(f"GRANT EXECUTE ON FUNCTION {function} TO {ident(server.user)};" for function in missing),
        )
