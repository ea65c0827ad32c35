"""Decisions about what writes statements down, and so might catch a password."""

from collections.abc import Iterator

from encryptdb.controller.preflight.facts import Facts
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import ident


def statement_logs(facts: Facts) -> Iterator[Finding]:
    """What would write down the password inside CREATE SUBSCRIPTION. The controller keeps it out of every statement
    a client sends; only what records statements inside a DO block can see it."""
    for server in facts.servers:
        me = ident(server.role.name)
        for database, contents in server.readable:
            audited = {c.strip().lower() for c in (contents.audit or "").split(",")}
            if ("all" in audited and "-ddl" not in audited) or "ddl" in audited:
                yield Finding(
                    "blocks",
                    found=f"pgaudit.log = {contents.audit}: the text of CREATE SUBSCRIPTION goes into the log.",
                    needed="No class ddl for the controller's role: that text holds the replication password.",
                    remedy=f"ALTER ROLE {me} SET pgaudit.log = 'none';\n"
                    f"ALTER ROLE {me} IN DATABASE {ident(database.name)} SET pgaudit.log = 'none';",
                    side=server.side,
                    database=database.name,
                )
            if (
                contents.statements_loaded
                and contents.statements == "all"
                and contents.statements_utility in ("on", None)
            ):
                yield Finding(
                    "warns",
                    found="pg_stat_statements.track = all: the text of CREATE SUBSCRIPTION is kept in that view.",
                    needed="track = top for the controller's role: that text holds the replication password, which "
                    "members of pg_read_all_stats could read there.",
                    remedy=f"ALTER ROLE {me} SET pg_stat_statements.track = 'top';",
                    side=server.side,
                    database=database.name,
                )
        logged = [
            f"{name} = {server.settings[name]}"
            for name, harmless in (("log_statement", ("none",)), ("log_min_duration_statement", ("-1",)))
            if server.settings[name] not in harmless
        ]
        if logged:
            yield Finding(
                "ok",
                found=f"{' and '.join(logged)}: statements are logged.",
                needed="Nothing: no statement that the controller sends holds a password.",
                side=server.side,
            )
