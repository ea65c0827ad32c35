"""Decisions about what is in the databases: what cannot be published, applied, or carried at all."""

from collections.abc import Iterator

from encryptdb.controller.preflight.contents import Contents, Database, Table
from encryptdb.controller.preflight.facts import Facts, ServerFacts
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import ident, lines, listed, size

SLOW_FULL_BYTES = 64 << 20
"""From this size on, reading a whole table for each changed row is worth a warning."""


def replica_identity(facts: Facts) -> Iterator[Finding]:
    for server, database, contents in _source(facts):
        stuck = [t for t in _published(contents) if not t.usable]
        if not stuck:
            continue
        now = facts.names.publication in contents.publications
        yield Finding(
            "blocks",
            found=f"Without a usable replica identity ({len(stuck)}): {listed(ident(*t.path) for t in stuck)}.",
            needed="A primary key that is not deferrable, or another replica identity: "
            + (
                "the publication is there, so UPDATE and DELETE on these tables fail NOW."
                if now
                else "as soon as all tables are published, UPDATE and DELETE on these tables fail on the source."
            ),
            remedy=lines(identity_remedy(t, server.major) for t in stuck),
            side="source",
            database=database.name,
        )


def identity_remedy(table: Table, major: int) -> str:
    """The least change that gives the table an identity: an index it has, else FULL where FULL can work, else a
    column of its own."""
    name = ident(*table.path)
    if table.candidate is not None:
        return f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {ident(table.candidate)};"
    if not table.unequal and not (major >= 18 and table.generated):
        return f"ALTER TABLE {name} REPLICA IDENTITY FULL;"
    if table.partition:
        return (
            f"-- {name} is a partition: give its partitioned table a primary key with the partition key in it "
            "(FULL cannot serve: " + _why_not_full(table) + ")."
        )
    index = f"encryptdb_key_{table.oid}"
    return (
        f"ALTER TABLE {name} ADD COLUMN encryptdb_key bigint GENERATED ALWAYS AS IDENTITY NOT NULL; "
        f"-- rewrites the table; FULL cannot serve: {_why_not_full(table)}\n"
        f"CREATE UNIQUE INDEX {ident(index)} ON {name} (encryptdb_key);\n"
        f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {ident(index)};"
    )


def _why_not_full(table: Table) -> str:
    if table.unequal:
        # A newline in a name would end the comment.
        return "no equality for " + ", ".join(ident(c).replace("\n", " ") for c in table.unequal)
    return "it has generated columns, which are not published"


def generated_identity(facts: Facts) -> Iterator[Finding]:
    for server, database, contents in _source(facts):
        hit = [t for t in _published(contents) if t.usable and t.generated_in_key]
        if hit:
            yield Finding(
                "blocks",
                found=f"A generated column is part of the replica identity of {listed(ident(*t.path) for t in hit)}.",
                needed="An identity without generated columns: they are not published, so the target cannot find the "
                "row (up to 17 the apply stops; from 18 UPDATE fails on the source).",
                remedy=lines(identity_remedy(t, server.major) for t in hit),
                side="source",
                database=database.name,
            )


def full_identity(facts: Facts) -> Iterator[Finding]:
    """What REPLICA IDENTITY FULL cannot do, and what it costs."""
    for server, database, contents in _source(facts):
        full = [t for t in _published(contents) if t.identity == "f"]
        fails = [t for t in full if (server.major >= 18 and t.generated) or (t.unequal and not t.keyed)]
        if fails:
            yield Finding(
                "blocks",
                found=f"REPLICA IDENTITY FULL cannot work for {listed(ident(*t.path) for t in fails)}: "
                f"{_why_not_full(fails[0])}.",
                needed="Another identity: UPDATE and DELETE would fail, on the source (18 with generated columns) or "
                "in the apply (columns that cannot be compared).",
                remedy=lines(
                    f"ALTER TABLE {ident(*t.path)} REPLICA IDENTITY DEFAULT;"
                    if t.keyed and not t.generated_in_key
                    else identity_remedy(t, server.major)
                    for t in fails
                ),
                side="source",
                database=database.name,
            )
        slow = [t for t in full if t not in fails and not t.keyed and t.bytes >= SLOW_FULL_BYTES and t.writes]
        if slow:
            yield Finding(
                "warns",
                found="No key, REPLICA IDENTITY FULL, and updated or deleted from: "
                + listed(f"{ident(*t.path)} ({size(t.bytes)})" for t in slow)
                + ".",
                needed="A key: for each changed row the target reads the whole table, so it may never catch up.",
                remedy=lines(
                    f"ALTER TABLE {ident(*t.path)} REPLICA IDENTITY USING INDEX {ident(t.candidate)};"
                    if t.candidate
                    else f"ALTER TABLE {ident(*t.path)} ADD COLUMN encryptdb_key bigint GENERATED ALWAYS AS IDENTITY "
                    "PRIMARY KEY; -- rewrites the table; only an index that fits the changes helps"
                    for t in slow
                ),
                side="source",
                database=database.name,
            )


def same_tables(facts: Facts) -> Iterator[Finding]:
    if facts.source is None or facts.target is None:
        return
    copies = {d.oid: c for d, c in facts.target.readable}
    for database, contents in facts.source.readable:
        copy = copies.get(database.oid)
        if copy is None:
            continue
        there = {t.path: t for t in copy.tables}
        here = {t.path: t for t in contents.tables}
        missing = [p for p in here if p not in there]
        changed = [p for p, t in here.items() if p in there and there[p].signature != t.signature]
        dropped = [p for p in there if p not in here]
        if missing:
            yield Finding(
                "blocks",
                found=f"Made on the source after the snapshot: {listed(ident(*p) for p in missing)}.",
                needed="The same tables on both sides: what is written to these is skipped in silence.",
                remedy="Make the same tables on the target, copy their rows, ALTER SUBSCRIPTION … REFRESH PUBLICATION; "
                "or drop them on the source; or abandon and start a new attempt.",
                side="target",
                database=database.name,
            )
        if changed or dropped:
            yield Finding(
                "blocks",
                found="Changed or dropped on the source after the snapshot: "
                f"{listed(ident(*p) for p in changed + dropped)}.",
                needed="The same columns on both sides: schema changes are not replicated, and may stop the apply.",
                remedy="Make the same change on the target.",
                side="target",
                database=database.name,
            )


def apply_triggers(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for database, contents in server.readable:
            firing = contents.of_kind("trigger")
            if firing:
                yield Finding(
                    "blocks",
                    found="Triggers that fire on replicated changes too: "
                    + listed(f"{ident(t.name)} on {ident(t.schema or '', t.of or '')}" for t in firing)
                    + ".",
                    needed="No ENABLE ALWAYS or ENABLE REPLICA trigger: what it did on the source is replicated "
                    "already, so on the target it would be done twice.",
                    remedy=lines(
                        f"ALTER TABLE {ident(t.schema or '', t.of or '')} "
                        f"{'ENABLE' if t.state == 'A' else 'DISABLE'} TRIGGER {ident(t.name)};"
                        for t in firing
                    ),
                    side=server.side,
                    database=database.name,
                )


def event_triggers(facts: Facts) -> Iterator[Finding]:
    for _, database, contents in _source(facts):
        found = contents.of_kind("event trigger")
        if found:
            yield Finding(
                "warns",
                found="Event triggers that act in replication or at login: "
                + listed(f"{ident(t.name)} on {t.of}" for t in found)
                + ".",
                needed="To know that they neither write nor refuse: they run on the copy as well, where all but the "
                "apply is read-only.",
                remedy=lines(
                    f"ALTER EVENT TRIGGER {ident(t.name)} {'DISABLE' if t.of == 'login' else 'ENABLE'};" for t in found
                ),
                side="source",
                database=database.name,
            )


def unlogged_tables(facts: Facts) -> Iterator[Finding]:
    for _, database, contents in _source(facts):
        found = [t for t in contents.tables if t.unlogged and not t.partitioned]
        if found:
            yield Finding(
                "warns",
                found=f"Unlogged tables: {listed(ident(*t.path) for t in found)}.",
                needed="To accept that they are empty on the target: they are in no snapshot, and never replicated.",
                remedy=lines(f"ALTER TABLE {ident(*t.path)} SET LOGGED;" for t in found),
                side="source",
                database=database.name,
            )


def materialized_views(facts: Facts) -> Iterator[Finding]:
    for _, database, contents in _source(facts):
        found = contents.of_kind("materialized view")
        if found:
            yield Finding(
                "warns",
                found=f"Materialized views: {listed(ident(t.schema or '', t.name) for t in found)}.",
                needed="A refresh on the target after the cutover: until then they show the time of the snapshot.",
                remedy=lines(f"REFRESH MATERIALIZED VIEW {ident(t.schema or '', t.name)};" for t in found),
                side="source",
                database=database.name,
            )


def foreign_tables(facts: Facts) -> Iterator[Finding]:
    for _, database, contents in _source(facts):
        found = contents.of_kind("foreign table")
        if found:
            yield Finding(
                "warns",
                found=f"Foreign tables: {listed(ident(t.schema or '', t.name) for t in found)}.",
                needed="The way from the target to the servers behind them: their rows are elsewhere and do not move.",
                remedy="Let the target's security group through to those servers, and test a SELECT on the target.",
                side="source",
                database=database.name,
            )


def large_objects(facts: Facts) -> Iterator[Finding]:
    """Logical replication does not carry large objects: only unchanged ones arrive, by the snapshot."""
    copies = {d.oid: c for d, c in facts.target.readable} if facts.target else {}
    for _, database, contents in _source(facts):
        copy = copies.get(database.oid)
        moved = copy is not None and (copy.large_objects, copy.large_objects_sum) != (
            contents.large_objects,
            contents.large_objects_sum,
        )
        if contents.large_objects or moved:
            yield Finding(
                "blocks" if moved else "warns",
                found=f"{contents.large_objects} large objects"
                + (f", of which the copy has {copy.large_objects}." if moved and copy else ".")
                + f" {contents.large_objects_written} of their pages were written since the statistics were reset.",
                needed="No change of a large object between the snapshot and the cutover: none would arrive.",
                remedy="Keep them in bytea columns, or stop what writes them until the cutover."
                + (" Then abandon and start a new attempt." if moved else ""),
                side="source",
                database=database.name,
            )


def _source(facts: Facts) -> Iterator[tuple[ServerFacts, Database, Contents]]:
    if facts.source is not None:
        for database, contents in facts.source.readable:
            yield facts.source, database, contents


def _published(contents: Contents) -> list[Table]:
    """Partitions are published under their own identity, so their partitioned tables need none."""
    return [t for t in contents.tables if not t.unlogged and not t.partitioned]
