"""Decisions about which databases move. A remedy here runs in any other database, such as postgres."""

from collections.abc import Iterator

from encryptdb.controller.preflight.facts import Facts, Stage
from encryptdb.controller.preflight.report import Finding, problem_text
from encryptdb.controller.preflight.text import ident, lines, listed


def readable(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for database in server.moving:
            if database.problem is not None:
                yield Finding(
                    "blocks",
                    found=problem_text(database.problem),
                    needed="A look into every database that moves: nothing is known of this one.",
                    remedy=f"GRANT CONNECT ON DATABASE {ident(database.name)} TO {ident(server.role.name)};"
                    if not database.connect
                    else database.problem.hint,
                    side=server.side,
                )


def databases(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None:
        return
    named = [d.name for d in source.moving]
    if not named:
        yield Finding(
            "blocks",
            found="No database of the source would move.",
            needed="A database that accepts connections; postgres moves only if something of yours is in it.",
            remedy="Check that the stack's config (source) names the right server.",
            side="source",
        )
        return
    aside = [d.name for d in source.databases if not d.moves]
    yield Finding(
        "ok",
        found=f"These move together: {listed(named)}."
        + (f" These do not: {listed(aside)}." if aside else "")
        + (" postgres has nothing of yours in it." if "postgres" in aside else ""),
        needed="One snapshot, one LSN and one cutover for all databases of the server.",
        side="source",
    )
    for database in source.moving:
        if not database.allow_connections:
            yield Finding(
                "blocks",
                found=f"The database {database.name} takes no connections: a fence of a cutover holds it, or someone "
                "closed it.",
                needed="An open database.",
                remedy=f"ALTER DATABASE {ident(database.name)} ALLOW_CONNECTIONS true;",
                side="source",
            )
        if database.read_only:
            yield Finding(
                "warns",
                found=f"default_transaction_read_only is on for the database {database.name}.",
                needed="To know whether writers are at work here: they may be about to be moved by someone else.",
                remedy=f"ALTER DATABASE {ident(database.name)} RESET default_transaction_read_only;",
                side="source",
            )
    recorded = facts.stage >= Stage.PREPARED
    for database in source.databases:
        if database.moves or database.name == "postgres":
            continue
        if not database.allow_connections or database.template:
            why = "takes no connections" if not database.allow_connections else "is a template"
            yield Finding(
                "warns",
                found=f"The database {database.name} {why}: the copy has it as it is in the snapshot.",
                needed="It stays unchanged until the cutover, or moves with the others.",
                remedy=lines(
                    [f"ALTER DATABASE {ident(database.name)} IS_TEMPLATE false;"] * database.template
                    + [f"ALTER DATABASE {ident(database.name)} ALLOW_CONNECTIONS true;"]
                    * (not database.allow_connections)
                ),
                side="source",
            )
        elif recorded:
            yield Finding(
                "blocks",
                found=f"The database {database.name} is not among those that prepare listed: it was made (or opened) "
                "later.",
                needed="Every database with changes has a slot: what is written to this one would be lost.",
                remedy="python -m controller abandon, then a new attempt. Or drop the database, if it is not needed.",
                side="source",
            )
