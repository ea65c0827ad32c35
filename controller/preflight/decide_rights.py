"""Decisions about what the controller's role may do with what is in the databases."""

from collections.abc import Iterator

from encryptdb.controller.preflight.contents import Table
from encryptdb.controller.preflight.decide_roles import grant
from encryptdb.controller.preflight.facts import Facts, ServerFacts
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import ident, lines, listed


def database_owner(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for database in server.moving:
            if not database.owned:
                yield Finding(
                    "blocks",
                    found=f"The database belongs to {database.owner}, which {server.role.name} is no member of.",
                    needed="ALTER DATABASE, for the fence.",
                    remedy=grant(database.owner, server),
                    side=server.side,
                    database=database.name,
                )


def table_rights(facts: Facts) -> Iterator[Finding]:
    """Rights on the source are rights on the copy; from the restore on, the copy's own are looked at too."""
    for server in facts.servers:
        for database, contents in server.readable:
            own = [t for t in contents.tables if (t.missing or not t.schema_usage) and not t.extension]
            if own:
                yield Finding(
                    "blocks",
                    found=f"The role {server.role.name} lacks rights on {listed(ident(*t.path) for t in own)}.",
                    needed="SELECT, INSERT, UPDATE, DELETE and TRUNCATE on every table, and USAGE on its schema: "
                    "changes are applied, and compared, with the rights of the controller's role.",
                    remedy=lines(s for t in own for s in _rights(t, server)),
                    side=server.side,
                    database=database.name,
                )
            extension = [t for t in contents.tables if (t.missing or not t.schema_usage) and t.extension]
            if extension:
                yield Finding(
                    "warns",
                    found=f"The role {server.role.name} lacks rights on tables of extensions: "
                    f"{listed(ident(*t.path) for t in extension)}.",
                    needed="These tables stay unchanged until the cutover: a change of one would stop the apply.",
                    remedy=lines(s for t in extension for s in _table_grants(t, server)),
                    side=server.side,
                    database=database.name,
                )


def sequence_rights(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for database, contents in server.readable:
            lacking = contents.of_kind("sequence")
            if lacking:
                yield Finding(
                    "blocks",
                    found=f"The role {server.role.name} may not read or set "
                    f"{listed(ident(s.schema or '', s.name) for s in lacking)}.",
                    needed="SELECT and UPDATE on every sequence: sequences are not replicated, the cutover sets them.",
                    remedy=lines(
                        statement
                        for s in lacking
                        for statement in (
                            f"GRANT USAGE ON SCHEMA {ident(s.schema or '')} TO {ident(server.role.name)};",
                            f"GRANT SELECT, UPDATE ON SEQUENCE {ident(s.schema or '', s.name)} "
                            f"TO {ident(server.role.name)};",
                        )
                    ),
                    side=server.side,
                    database=database.name,
                )


def row_security(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for database, contents in server.readable:
            hit = [t for t in contents.tables if t.row_security]
            if hit:
                yield Finding(
                    "blocks",
                    found=f"Row-level security applies to {server.role.name} on {listed(ident(*t.path) for t in hit)}.",
                    needed="All rows: the apply stops at such a table, and a comparison would miss the hidden rows.",
                    remedy=lines(s for t in hit for s in _bypass(t, server)),
                    side=server.side,
                    database=database.name,
                )


def _table_grants(table: Table, server: ServerFacts) -> list[str]:
    me = ident(server.role.name)
    return [
        f"GRANT USAGE ON SCHEMA {ident(table.schema)} TO {me};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE {ident(*table.path)} TO {me};",
    ]


def _rights(table: Table, server: ServerFacts) -> list[str]:
    """Membership in the owner covers tables made later and TRUNCATE … RESTART IDENTITY too; never in a superuser."""
    if table.owner_superuser or not table.missing:
        return _table_grants(table, server)
    return [grant(table.owner, server), f"GRANT USAGE ON SCHEMA {ident(table.schema)} TO {ident(server.role.name)};"]


def _bypass(table: Table, server: ServerFacts) -> list[str]:
    statements = [] if table.owner_superuser else [grant(table.owner, server)]
    if table.owner_superuser:
        statements.append(f"ALTER ROLE {ident(server.role.name)} BYPASSRLS;")
    elif table.forced:
        statements.append(
            f"ALTER TABLE {ident(*table.path)} NO FORCE ROW LEVEL SECURITY; -- until the migration is over"
        )
    return statements
