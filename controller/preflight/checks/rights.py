"""What the controller's role may do with what is in the databases. Rights on the source are rights on the copy; from
the restore on, the copy's own are looked at too."""

from dataclasses import dataclass

from encryptdb.controller.postgres import catalog
from encryptdb.controller.preflight.check import Findings, blocks, check, database, server, warns
from encryptdb.controller.preflight.checks.databases import RIGHTS
from encryptdb.controller.preflight.checks.roles import ROLE, grant
from encryptdb.controller.preflight.checks.tables import TABLES, Table
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, rows
from encryptdb.controller.preflight.text import ident, lines, listed


@dataclass(frozen=True)
class Sequence:
    schema: str
    name: str


SEQUENCES_SQL = f"""
-- Sequences that move, and that the role may not read or set.
SELECT n.nspname::text AS schema, c.relname::text AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {catalog.SEQUENCE} AND NOT {catalog.PERMITTED}
 ORDER BY 1, 2
"""
SEQUENCES = Reading("sequences that the role may not set", "database", rows(Sequence, SEQUENCES_SQL))


@check(server, "blocks", reads=(ROLE, RIGHTS))
def database_owner(facts: Facts, server: ServerFacts) -> Findings:
    """The role may alter the databases. The fence is `ALTER DATABASE`, which needs the privileges of the owner."""
    owned = {r.oid for r in server[RIGHTS] if r.owned}
    for found in server.moving:
        if found.oid not in owned:
            owner = found.observed.owner
            yield blocks(
                f"The database {found.name} belongs to {owner}, and {server.user} is not a member of that role.",
                "ALTER DATABASE, for the fence.",
                grant(owner, server),
                database=found.name,
            )


@check(database, "blocks; warns for tables of extensions", reads=(ROLE, TABLES))
def table_rights(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may read and write every table. SELECT, INSERT, UPDATE, DELETE, TRUNCATE, and USAGE on the schemas:
    changes are applied and compared with them."""
    lacking = [t for t in database[TABLES] if t.missing or not t.schema_usage]
    own, extension = [t for t in lacking if not t.extension], [t for t in lacking if t.extension]
    if own:
        yield blocks(
            f"The role {server.user} lacks privileges on {listed(t.quoted for t in own)}.",
            "SELECT, INSERT, UPDATE, DELETE and TRUNCATE on every table, and USAGE on its schema: changes are applied, "
            "and compared, with the privileges of the controller's role.",
            lines(s for t in own for s in _rights(t, server)),
        )
    if extension:
        yield warns(
            f"The role {server.user} lacks privileges on tables of extensions: {listed(t.quoted for t in extension)}.",
            "No change of these tables until the cutover: it would stop the apply.",
            lines(s for t in extension for s in _table_grants(t, server)),
            part="extensions",
        )


@check(database, "blocks", reads=(SEQUENCES,))
def sequence_rights(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """The role may read and set every sequence. Sequences are not replicated: the cutover sets them."""
    lacking, me = database[SEQUENCES], ident(server.user)
    if lacking:
        yield blocks(
            f"The role {server.user} may not read or set {listed(ident(s.schema, s.name) for s in lacking)}.",
            "SELECT and UPDATE on every sequence: sequences are not replicated, the cutover sets them.",
            lines(
                statement
                for s in lacking
                for statement in (
                    f"GRANT USAGE ON SCHEMA {ident(s.schema)} TO {me};",
                    f"GRANT SELECT, UPDATE ON SEQUENCE {ident(s.schema, s.name)} TO {me};",
                )
            ),
        )


@check(database, "blocks", reads=(ROLE, TABLES))
def row_security(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No row-level security applies to the role. The apply stops at such a table, and a comparison would miss
    rows."""
    hit = [t for t in database[TABLES] if t.row_security]
    if hit:
        yield blocks(
            f"Row-level security applies to {server.user} on {listed(t.quoted for t in hit)}.",
            "All rows: the apply stops at such a table, and a comparison would miss the hidden rows.",
            lines(s for t in hit for s in _bypass(t, server)),
        )


def _table_grants(table: Table, server: ServerFacts) -> list[str]:
    me = ident(server.user)
    return [
        f"GRANT USAGE ON SCHEMA {ident(table.schema)} TO {me};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE {table.quoted} TO {me};",
    ]


def _rights(table: Table, server: ServerFacts) -> list[str]:
    """Membership in the owner covers tables made later and TRUNCATE … RESTART IDENTITY too; never in a superuser."""
    if table.owner_superuser or not table.missing:
        return _table_grants(table, server)
    return [grant(table.owner, server), _table_grants(table, server)[0]]


def _bypass(table: Table, server: ServerFacts) -> list[str]:
    if table.owner_superuser:
        return [f"ALTER ROLE {ident(server.user)} BYPASSRLS;"]
    forced = f"ALTER TABLE {table.quoted} NO FORCE ROW LEVEL SECURITY; -- until the migration is over"
    return [grant(table.owner, server)] + [forced] * table.forced
