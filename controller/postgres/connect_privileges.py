"""The lasting fence: only replication and the controller may connect to a database.

It isolates the restored copy until OPEN, closes the source after it, and the target after a rollback. CONNECT is
revoked from everybody, the owner and PUBLIC included, and granted to a few roles; sessions start read-only. Unlike
ALLOW_CONNECTIONS false, apply workers and walsenders can start. Superusers still pass (on RDS only AWS has any).

The privileges are recorded in the control database, in the same transaction and only once: closing again never
overwrites the record. `reopen` restores them; an ACL that was NULL (the default) comes back spelled out.
"""

from collections.abc import Sequence
from typing import Protocol

from psycopg import sql

from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.server import Db, Server, rows_of
from encryptdb.controller.record_values import ClosedDatabase, Grant, Setting
from encryptdb.controller.records import ConnectPrivileges
from encryptdb.stacks.contract.errors import Refused

CONNECT_GRANTS_SQL = """
-- Who may CONNECT to each database, by whose grant (grantee NULL: PUBLIC). A NULL ACL means the default one.
SELECT d.oid::bigint AS database,
       CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END AS grantee,
       pg_get_userbyid(a.grantor)::text AS grantor, a.is_grantable AS grantable, a.grantor = d.datdba AS by_owner
  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
 WHERE d.oid = ANY (%s) AND a.privilege_type = 'CONNECT'
"""

READ_ONLY_SQL = """
-- Each database's own default_transaction_read_only, for all roles and for ours (NULL: not set).
SELECT d.oid::bigint AS database, r.role IS NOT NULL AS ours, split_part(c.entry, '=', 2) AS value
  FROM pg_database d CROSS JOIN (VALUES (NULL), (current_user::text)) r (role)
  LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid
   AND s.setrole = coalesce((SELECT oid FROM pg_roles WHERE rolname = r.role), 0)
  LEFT JOIN LATERAL unnest(s.setconfig) c (entry) ON split_part(c.entry, '=', 1) = 'default_transaction_read_only'
 WHERE d.oid = ANY (%s)
"""

STILL_ENTER_SQL = """
-- Login roles that may CONNECT although they are not among those let in: members of a role that is.
SELECT d.datname::text, r.rolname::text
  FROM pg_database d, pg_roles r
 WHERE d.oid = ANY (%s) AND r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> ALL (%s)
   AND EXISTS (SELECT FROM unnest(%s::text[]) let_in WHERE pg_has_role(r.oid, let_in, 'USAGE'))
 ORDER BY 1, 2
"""


class Named(Protocol):
    """A database. Source and target share its oid."""

    @property
    def oid(self) -> int: ...

    @property
    def name(self) -> str: ...


def close(server: Server, databases: Sequence[Named], *, keep: Sequence[str]) -> None:
    """Let only the roles in `keep` and our own connect, and record the privileges revoked.

    Existing sessions stay: see `fence.clear`. Raises Refused if a privilege could not be revoked.
    """
    with server.transaction() as connection:
        close_within(connection, databases, keep=keep)


def close_within(connection: Db, databases: Sequence[Named], *, keep: Sequence[str]) -> None:
    """The same inside the caller's transaction, on a connection to the control database."""
    if not databases:
        return
    ours, grants, settings = _read(connection, databases)
    recorded = _recorded(connection)
    for database in databases:
        recorded.setdefault(
            database.oid,
            ClosedDatabase(
                database.name,
                tuple(g for g in grants if g.database == database.oid),
                tuple(s for s in settings if s.database == database.oid),
            ),
        )
    control.write(connection, ConnectPrivileges(recorded))
    let_in = list(dict.fromkeys([ours, *keep]))
    statements: list[sql.Composable] = []
    for database in databases:
        name = sql.Identifier(database.name)
        statements += _revoke_all(name, [g for g in grants if g.database == database.oid])
        statements.append(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.SQL(", ").join(map(sql.Identifier, let_in)))
        )
        statements.append(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        # Ours too, where a setting of its own would win: should an application log in as the controller's role, against
        # all advice, its writes fail here instead of being lost. Apply workers write whatever this says.
        statements.append(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET default_transaction_read_only = on").format(
                sql.Identifier(ours), name
            )
        )
    connection.execute(sql.SQL("; ").join(statements))
    _, left, _ = _read(connection, databases)
    kept = [g for g in left if g.grantee not in let_in]
    if kept:
        names = {d.oid: d.name for d in databases}
        raise Refused(
            "Could not revoke every CONNECT privilege.",
            detail="; ".join(f"{names[g.database]}: {g.grantee or 'PUBLIC'} (granted by {g.grantor})" for g in kept),
            hint=f"Make {ours} a member of the role that owns the database: GRANT owner TO {ours};",
        )


def reopen(server: Server, databases: Sequence[Named]) -> None:
    """Restore what `close` recorded, and drop the record. Databases that are not closed stay as they are."""
    with server.transaction() as connection:
        statements = plan_reopen(connection, databases)
        if statements is not None:
            connection.execute(statements)


def plan_reopen(connection: Db, databases: Sequence[Named]) -> sql.Composed | None:
    """The statements of `reopen` as one text, a single round trip in a transaction; None if nothing is closed."""
    ours, present, _ = _read(connection, databases)
    recorded = _recorded(connection)
    mine = [d for d in databases if d.oid in recorded]
    if not mine:
        return None
    reachable = _roles_we_can_become(connection)
    statements: list[sql.Composable] = []
    for database in mine:
        was = recorded[database.oid]
        name = sql.Identifier(database.name)
        statements += _revoke_all(name, [g for g in present if g.database == database.oid])
        statements += _grant_again(name, was.connect, reachable)
        statements += [_set_again(name, ours, s) for s in was.read_only]
    statements.append(
        sql.SQL(
            "UPDATE encryptdb.record SET value = jsonb_set(value, '{{databases}}', (value -> 'databases') - {}::text[])"
            " WHERE key = {}"
        ).format(sql.Literal([str(d.oid) for d in mine]), sql.Literal(ConnectPrivileges.key))
    )
    statements.append(
        sql.SQL("DELETE FROM encryptdb.record WHERE key = {} AND value -> 'databases' = '{{}}'").format(
            sql.Literal(ConnectPrivileges.key)
        )
    )
    return sql.SQL("; ").join(statements)


def closed(server: Server) -> set[str]:
    """Names of the databases that are closed, by the record."""
    found = control.records(server)
    return found.closed if found else set()


def still_enter(server: Server, databases: Sequence[Named], *, keep: Sequence[str]) -> list[tuple[str, str]]:
    """(database, role) of login roles that a lasting fence would let in, because they inherit from one in `keep`."""
    with server.translated("encryptdb"):
        connection = server.db()
        let_in = [connection.info.user, *keep]
        return [
            (database, role)
            for database, role in connection.execute(
                STILL_ENTER_SQL, [[d.oid for d in databases], let_in, let_in]
            ).fetchall()
        ]


def _read(connection: Db, databases: Sequence[Named]) -> tuple[str, list[Grant], list[Setting]]:
    oids = [d.oid for d in databases]
    grants = rows_of(connection, Grant, CONNECT_GRANTS_SQL, [oids])
    settings = rows_of(connection, Setting, READ_ONLY_SQL, [oids])
    return connection.info.user, grants, settings


def _recorded(connection: Db) -> dict[int, ClosedDatabase]:
    rows = connection.execute(
        "SELECT key, version, value FROM encryptdb.record WHERE key = %s FOR UPDATE", [ConnectPrivileges.key]
    ).fetchall()
    found = control.parse(rows, connection.info.host).connect_privileges
    return dict(found.databases) if found else {}


def _roles_we_can_become(connection: Db) -> frozenset[str]:
    how = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    rows = connection.execute("SELECT rolname::text FROM pg_roles WHERE pg_has_role(oid, %s)", [how]).fetchall()
    return frozenset(name for (name,) in rows)


def _role(name: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)


def _revoke_all(database: sql.Identifier, grants: Sequence[Grant]) -> list[sql.Composable]:
    # CASCADE takes what a grantee has granted on; so only the owner's own grants are named.
    grantees = dict.fromkeys(g.grantee for g in grants if g.by_owner)
    return [
        sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {} CASCADE").format(database, _role(grantee))
        for grantee in grantees
    ]


def _grant_again(database: sql.Identifier, grants: Sequence[Grant], reachable: frozenset[str]) -> list[sql.Composable]:
    """The owner's grants first, then those that depend on them; as their grantor if possible, else as the owner."""
    statements: list[sql.Composable] = []
    held: set[str | None] = set()
    waiting = sorted(grants, key=lambda g: not g.by_owner)
    while waiting:
        ready = [g for g in waiting if g.by_owner or g.grantor in held] or waiting
        for g in ready:
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}{}").format(
                database, _role(g.grantee), sql.SQL(" WITH GRANT OPTION" if g.grantable else "")
            )
            if g.by_owner or g.grantor not in reachable:
                statements.append(grant)
            else:
                statements += [
                    sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(g.grantor)),
                    grant,
                    sql.SQL("RESET ROLE"),
                ]
        held.update(g.grantee for g in ready)
        waiting = [g for g in waiting if g not in ready]
    return statements


def _set_again(database: sql.Identifier, ours: str, setting: Setting) -> sql.Composable:
    whose = (
        sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(ours), database)
        if setting.ours
        else sql.SQL("ALTER DATABASE {}").format(database)
    )
    if setting.value is None:
        return sql.SQL("{} RESET default_transaction_read_only").format(whose)
    return sql.SQL("{} SET default_transaction_read_only = {}").format(whose, sql.Literal(setting.value))
