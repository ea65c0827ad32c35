"""Decisions about what the controller's role may do, and who else uses it."""

from collections.abc import Iterator

from encryptdb.controller.preflight.contents import Contents, Database, Refusal
from encryptdb.controller.preflight.facts import Facts, ServerFacts
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import ident, lines, listed


def own_role(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None or not source.role_users:
        return
    users = sorted({f"{s.application or 'no application_name'} in {s.database}" for s in source.role_users})
    yield Finding(
        "warns",
        found=f"{len(source.role_users)} sessions of others log in as {source.role.name}: {listed(users)}.",
        needed="A role of the controller's own: the fence lets the controller's role in, so these clients would "
        "write past it.",
        remedy="Give the applications roles of their own, or the controller one "
        "(ENCRYPTDB_SOURCE_USER and ENCRYPTDB_SOURCE_PASSWORD, or sourceSecret).",
        side="source",
    )


def monitoring(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        memberships = {
            "pg_signal_backend": server.role.may_signal,
            "pg_read_all_stats": server.role.may_see,
            "pg_read_all_settings": server.role.may_read_settings,
        }
        missing = [name for name, has in memberships.items() if not has]
        if missing:
            yield Finding(
                "blocks",
                found=f"The role {server.role.name} is no member of {', '.join(missing)}.",
                needed="The fence must see every session and end it: one that it cannot see would go on writing. "
                "Some settings (shared_preload_libraries) are hidden otherwise.",
                remedy=lines(grant(name, server) for name in missing),
                side=server.side,
            )


def replication(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        if not server.role.may_replicate:
            yield Finding(
                "blocks",
                found=f"The role {server.role.name} may not make replication slots.",
                needed="REPLICATION (on RDS: membership in rds_replication).",
                remedy=f"GRANT rds_replication TO {ident(server.role.name)} WITH ADMIN OPTION;"
                if server.role.rds
                else f"ALTER ROLE {ident(server.role.name)} REPLICATION;",
                side=server.side,
            )


def replication_role(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        refusal = server.probes.get("replication role")
        if refusal is None:
            continue
        me = ident(server.role.name)
        if server.role.rds:
            remedy = f"ALTER ROLE {me} CREATEROLE;\nGRANT rds_replication TO {me} WITH ADMIN OPTION;"
        elif server.major >= 16:
            remedy = f"ALTER ROLE {me} CREATEROLE REPLICATION;"
        else:
            remedy = f"ALTER ROLE {me} SUPERUSER;"
        yield Finding(
            "blocks",
            found=f"Making a role for the subscriptions was refused: {refusal.message}.",
            needed="A login of its own with REPLICATION, so that no password of yours is stored in a subscription.",
            remedy=remedy if refusal.privilege else _other_reason(refusal),
            side=server.side,
        )


def create_database(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None or source.records is not None:
        return
    if not source.role.create_database:
        yield Finding(
            "blocks",
            found=f"The role {source.role.name} may not make databases.",
            needed="CREATEDB, for the control database encryptdb.",
            remedy=f"ALTER ROLE {ident(source.role.name)} CREATEDB;",
            side="source",
        )


def schema(facts: Facts) -> Iterator[Finding]:
    for server, database, refusal in _refused(facts, "schema"):
        yield Finding(
            "blocks",
            found=f"Making a schema was refused: {refusal.message}.",
            needed="CREATE on the database, for the heartbeat's schema.",
            remedy=f"GRANT CREATE ON DATABASE {ident(database.name)} TO {ident(server.role.name)};"
            if refusal.privilege
            else _other_reason(refusal),
            side=server.side,
            database=database.name,
        )


def publish(facts: Facts) -> Iterator[Finding]:
    for server, database, refusal in _refused(facts, "publish"):
        yield Finding(
            "blocks",
            found=f"CREATE PUBLICATION … FOR ALL TABLES was refused: {refusal.message}.",
            needed="A publication of all tables (on RDS: rds_superuser; elsewhere a superuser).",
            remedy=superuser(server) if refusal.privilege else _other_reason(refusal),
            side=server.side,
            database=database.name,
        )


def subscribe(facts: Facts) -> Iterator[Finding]:
    for server, database, refusal in _refused(facts, "subscribe"):
        remedy = superuser(server)
        if server.major >= 16:
            remedy = lines(
                [
                    f"GRANT pg_create_subscription TO {ident(server.role.name)};",
                    f"GRANT CREATE ON DATABASE {ident(database.name)} TO {ident(server.role.name)};",
                ]
            )
        yield Finding(
            "blocks",
            found=f"CREATE SUBSCRIPTION was refused: {refusal.message}.",
            needed="A subscription in the copy of this database, which has the roles and rights of its original.",
            remedy=remedy if refusal.privilege else _other_reason(refusal),
            side=server.side,
            database=database.name,
        )


def origins(facts: Facts) -> Iterator[Finding]:
    functions = {
        "origin advance": "pg_replication_origin_advance(text, pg_lsn)",
        "origin progress": "pg_replication_origin_progress(text, boolean)",
    }
    for server in facts.servers:
        for database, contents in server.readable:
            missing = [f for probe, f in functions.items() if contents.probes.get(probe) is not None]
            if missing:
                yield Finding(
                    "blocks",
                    found=f"The role {server.role.name} may not call {' and '.join(missing)}.",
                    needed="EXECUTE on both: the copy's subscription is set to the exact LSN with them.",
                    remedy=lines(
                        f"GRANT EXECUTE ON FUNCTION {function} TO {ident(server.role.name)};" for function in missing
                    ),
                    side=server.side,
                    database=database.name,
                )


def _refused(facts: Facts, probe: str) -> Iterator[tuple[ServerFacts, Database, Refusal]]:
    for server in facts.servers:
        for database, contents in server.readable:
            refusal = contents.probes.get(probe)
            if refusal is not None and not _done(facts, server, contents, probe):
                yield server, database, refusal


def _done(facts: Facts, server: ServerFacts, contents: Contents, probe: str) -> bool:
    """Whether what the probe stands for has been made already: its privilege is not needed a second time."""
    if probe == "schema":
        return contents.heartbeat
    return probe == "publish" and server.side == "source" and facts.names.publication in contents.publications


def grant(role: str, server: ServerFacts) -> str:
    """Membership that counts without SET ROLE."""
    me = ident(server.role.name)
    if server.major >= 16:
        return f"GRANT {ident(role)} TO {me} WITH INHERIT TRUE, SET TRUE;"
    return f"GRANT {ident(role)} TO {me};" + ("" if server.role.inherit else f"\nALTER ROLE {me} INHERIT;")


def superuser(server: ServerFacts) -> str:
    """What stands for a superuser: on RDS there is none to be had."""
    return grant("rds_superuser", server) if server.role.rds else f"ALTER ROLE {ident(server.role.name)} SUPERUSER;"


def _other_reason(refusal: Refusal) -> str:
    return f"Not a matter of privileges (SQLSTATE {refusal.sqlstate}): see what raised it, e.g. an event trigger."
