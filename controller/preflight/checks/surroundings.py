"""What else is on the servers: other migrations, slots, subscriptions and transactions."""

from dataclasses import dataclass

from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, SCHEMA
from encryptdb.controller.preflight.check import Findings, blocks, check, database, migration, server, warns
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, Reading, ServerFacts, Stage, rows
from encryptdb.controller.preflight.read import optional
from encryptdb.controller.preflight.text import duration, ident, lines, listed, literal
from encryptdb.controller.records import Records

LONG_SECONDS = 60.0
"""A transaction that has written for longer than this delays the slots noticeably."""

FOREIGN_SCHEMA = Reading(
    f"relations of others in the schema {SCHEMA}",
    "database",
    lambda connection: optional(
        connection,
        """SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'encryptdb' AND c.relname NOT IN ('heartbeat', 'heartbeat_pkey'))""",
    ),
)


@dataclass(frozen=True)
class Writer:
    """A client's transaction that has written something; making a slot waits for each of them."""

    pid: int
    role: str | None
    database: str | None
    application: str
    seconds: float


WRITERS_SQL = """
SELECT pid, usename::text AS role, datname::text AS database,
       COALESCE(NULLIF(application_name, ''), 'no application_name') AS application,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
 ORDER BY xact_start
"""
WRITERS = Reading("transactions that write", "server", rows(Writer, WRITERS_SQL))


@check(server, "blocks", sides="source", stages="until OPEN")
def other_attempt(facts: Facts, server: ServerFacts) -> Findings:
    """Nothing of another stack, attempt or owner has the names that are needed. A control database of another
    stack, attempt or server; slots with this stack's names but no record; a database `encryptdb` of someone
    else."""
    if server.observed.foreign_control:
        yield blocks(
            f"The database {CONTROL_DATABASE} is not encryptdb's: it holds relations of someone else.",
            f"The name {CONTROL_DATABASE}, for the control database.",
            f"ALTER DATABASE {ident(CONTROL_DATABASE)} RENAME TO {ident(CONTROL_DATABASE + '_old')};",
            part="control-database",
        )
    found = (server.observed.records or Records()).identity
    here = (facts.outputs.stack, facts.outputs.attempt)
    if found is None:
        slots = [name for name in server.observed.slots if facts.ours(name)]
        if slots:
            yield blocks(
                f"There are slots with this stack's names, but no record of a migration: {listed(slots)}.",
                "No leftovers: where these slots began is unknown.",
                lines(f"SELECT pg_drop_replication_slot({literal(s)});" for s in slots),
                part="slots",
            )
        return
    if (found.stack, found.attempt) != here:
        yield blocks(
            f"The source is prepared for attempt {found.attempt} of the stack {found.stack}.",
            f"Nothing of another attempt: this is attempt {here[1]} of the stack {here[0]}.",
            f"encryptdb abandon --stack {found.stack}",
            part="migration",
        )
    if found.source_resource_id != facts.outputs.source.resource_id:
        yield blocks(
            f"This control database was made on {found.source_resource_id}; the stack's source is "
            f"{facts.outputs.source.resource_id}.",
            "The server that was prepared, and not a copy of it.",
            facts.config("source", "IDENTIFIER"),
            part="copy",
        )


@check(database, "blocks", reads=(FOREIGN_SCHEMA,), sides="source", stages="until OPEN")
def other_objects(facts: Facts, server: ServerFacts, database: DatabaseFacts) -> Findings:
    """No object of someone else has a name that is needed in the databases. A publication of this stack without a
    record; a schema `encryptdb` of someone else."""
    assert database.objects is not None
    name = facts.names.publication
    if (server.observed.records or Records()).identity is None and name in database.objects.publications:
        yield blocks(
            f"There is a publication {name}, but no record of a migration.",
            "No leftovers.",
            f"DROP PUBLICATION {ident(name)};",
            part="publication",
        )
    if database[FOREIGN_SCHEMA]:
        yield blocks(
            f"The schema {SCHEMA} holds relations of someone else.",
            f"The name {SCHEMA}, for the heartbeat's schema.",
            f"ALTER SCHEMA {ident(SCHEMA)} RENAME TO {ident(SCHEMA + '_old')};",
            part="schema",
        )


@check(migration, "blocks", stages="from the restore to OPEN")
def own_copy(facts: Facts) -> Findings:
    """The target is the copy of a snapshot of this migration. Its control database came with the snapshot, and
    tells whose copy it is and since when."""
    assert facts.source is not None and facts.target is not None
    here, there = ((s.observed.records or Records()).identity for s in (facts.source, facts.target))
    if here != there or here is None:
        yield blocks(
            "The target is not the copy of a snapshot of this migration: its control database says "
            f"{there or 'nothing'}, the source's {here or 'nothing'}.",
            "A snapshot taken after prepare, of this source and attempt: no other can be joined exactly.",
            facts.new_attempt,
            side="target",
        )


@check(server, "blocks if lost, warns if near it", sides="source", stages="from prepare to OPEN")
def own_slots(facts: Facts, server: ServerFacts) -> Findings:
    """The slots of prepare hold all WAL since then. They have what the copy lacks, and lost WAL cannot be
    restored."""
    for found in server.moving:
        name = facts.names.slot(found.oid)
        slot = server.observed.slots.get(name)
        if server.observed.slot_lost(name) or (slot is not None and slot.plugin != "pgoutput"):
            state = "does not exist" if slot is None else f"is {slot.wal_status}, with the plugin {slot.plugin}"
            yield blocks(
                f"The slot {name} {state}.",
                "A slot that kept all WAL since prepare: the changes since the snapshot are lost.",
                facts.new_attempt,
                database=found.name,
            )
        elif slot is not None and slot.wal_status == "unreserved":
            yield warns(
                f"The slot {name} is unreserved: the next checkpoint may invalidate it.",
                "That the target catches up at once, or a higher max_slot_wal_keep_size.",
                facts.words.set_parameters(facts.group("source"), {"max_slot_wal_keep_size": -1}),
                database=found.name,
            )


@check(server, "warns", sides="source", stages="until OPEN")
def other_slots(facts: Facts, server: ServerFacts) -> Findings:
    """There are no other slots. Slots do not move: change data capture, DMS and replicas must start again on the
    target."""
    others = [s for s in server.observed.slots.values() if not facts.ours(s.name)]
    if others:
        yield warns(
            "Other slots: "
            + listed(f"{s.name} ({s.plugin or 'physical'}{f' in {s.database}' if s.database else ''})" for s in others)
            + ".",
            "A plan for what reads them: slots do not move to the target.",
            lines(
                f"SELECT pg_create_logical_replication_slot({literal(s.name)}, {literal(s.plugin)}); -- on the target"
                if s.plugin
                else f"SELECT pg_create_physical_replication_slot({literal(s.name)}); -- on the target"
                for s in others
            ),
        )


@check(server, "blocks if enabled, warns if not", stages="until OPEN")
def subscriptions(facts: Facts, server: ServerFacts) -> Findings:
    """No inherited subscription is enabled. It comes along in the snapshot and takes over its slot as soon as the
    copy runs: rows are lost for good."""
    for subscription in server.observed.subscriptions.values():
        name = ident(subscription.name)
        if facts.ours(subscription.name):
            continue
        if subscription.enabled:
            yield blocks(
                f"The subscription {name} is enabled.",
                "None that is enabled when the snapshot is taken: the copy would take over its slot while the source "
                "restarts, and rows would be lost for good.",
                f"ALTER SUBSCRIPTION {name} DISABLE;",
                part=subscription.name,
                database=subscription.database,
            )
        elif server.side == "source":
            yield warns(
                f"The subscription {name} is disabled.",
                "That it stays disabled until the target is open; its copy is detached from the slot.",
                f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE);\nDROP SUBSCRIPTION {name}; -- if it is not needed",
                part=subscription.name,
                database=subscription.database,
            )


@check(server, "blocks before the restore, else warns", sides="source", stages="until OPEN")
def prepared_transactions(facts: Facts, server: ServerFacts) -> Findings:
    """No transaction is prepared for two-phase commit. Slots wait for it, and a copy of it holds up the apply.
    Where two-phase commit is possible there is a warning."""
    early = facts.stage < Stage.RESTORED
    for prepared in server.observed.prepared_transactions:
        gid = literal(prepared.gid)
        yield (blocks if early else warns)(
            f"The transaction {gid} of {prepared.owner} is prepared.",
            "None: making a slot waits for it, and a copy of it on the target holds up the apply."
            if early
            else "None at the cutover: what it holds is on neither side until it is committed.",
            f"ROLLBACK PREPARED {gid}; -- or COMMIT PREPARED, as role {ident(prepared.owner)}",
            part=prepared.gid,
            database=prepared.database,
        )
    limit = server.number("max_prepared_transactions")
    if limit and not server.observed.prepared_transactions:
        yield warns(
            f"max_prepared_transactions = {limit}: two-phase commit is possible.",
            "No prepared transaction while the snapshot is taken, nor at the cutover.",
            "SELECT gid, prepared, owner, database FROM pg_prepared_xacts;",
            part="possible",
        )


@check(server, "warns", reads=(WRITERS,), sides="source", stages="until OPEN")
def long_transactions(facts: Facts, server: ServerFacts) -> Findings:
    """No transaction has been writing for more than a minute. Making a slot waits for it."""
    for writer in server[WRITERS]:
        if writer.seconds >= LONG_SECONDS:
            yield warns(
                f"A transaction of {writer.role} ({writer.application}) has been writing for "
                f"{duration(writer.seconds)}.",
                "Short transactions: making a slot waits for every transaction that writes.",
                f"SELECT pg_terminate_backend({writer.pid}); -- it is rolled back",
                part=str(writer.pid),
                database=writer.database,
            )
