"""Decisions about what else is on the servers: other replication, other attempts, jobs, open transactions, logs."""

from collections.abc import Iterator

from encryptdb.controller.postgres.object_names import CONTROL_DATABASE, SCHEMA
from encryptdb.controller.preflight.facts import Facts, Stage
from encryptdb.controller.preflight.report import Finding
from encryptdb.controller.preflight.text import duration, ident, lines, listed, literal
from encryptdb.controller.records import Records

LONG_SECONDS = 60.0
"""A transaction that has written for longer than this will hold up the slots noticeably."""


def other_attempt(facts: Facts) -> Iterator[Finding]:
    """Whose the control database is, and whether names that we would take are taken."""
    source = facts.source
    if source is None:
        return
    if source.foreign_control:
        yield Finding(
            "blocks",
            found=f"There is a database {CONTROL_DATABASE} which is not encryptdb's: it holds tables of someone else.",
            needed="The name: the journal and the watchdog live in a database of that name.",
            remedy=f"ALTER DATABASE {ident(CONTROL_DATABASE)} RENAME TO {ident(CONTROL_DATABASE + '_old')};",
            side="source",
        )
    migration = (source.records or Records()).identity
    here = (facts.outputs.stack, facts.outputs.attempt)
    if migration is not None:
        there = (migration.stack, migration.attempt)
        if there != here:
            yield Finding(
                "blocks",
                found=f"The source is prepared for attempt {there[1]} of the stack {there[0]}.",
                needed=f"Nothing of another attempt: this is attempt {here[1]} of the stack {here[0]}.",
                remedy=f"With that stack's outputs: python -m controller abandon --stack {there[0]}",
                side="source",
            )
        bound = migration.source_resource_id
        if bound != facts.outputs.source.resource_id:
            yield Finding(
                "blocks",
                found=f"This control database was made on {bound}; the stack's source is "
                f"{facts.outputs.source.resource_id}.",
                needed="The server that was prepared, and not a copy of it.",
                remedy="Correct the stack's config (source). On a copy, python -m controller abandon cleans up.",
                side="source",
            )
    else:
        slots = [s.name for s in source.slots if facts.ours(s.name)]
        if slots:
            yield Finding(
                "blocks",
                found=f"Slots with this stack's names, but no record of a migration: {listed(slots)}.",
                needed="No leftovers: nobody knows where these slots began.",
                remedy=lines(f"SELECT pg_drop_replication_slot({literal(s)});" for s in slots),
                side="source",
            )
        for database, contents in source.readable:
            if facts.names.publication in contents.publications:
                yield Finding(
                    "blocks",
                    found=f"A publication {facts.names.publication}, but no record of a migration.",
                    needed="No leftovers.",
                    remedy=f"DROP PUBLICATION {ident(facts.names.publication)};",
                    side="source",
                    database=database.name,
                )
    for database, contents in source.readable:
        if contents.foreign_schema:
            yield Finding(
                "blocks",
                found=f"There is a schema {SCHEMA} with something of someone else in it.",
                needed="The name, for the heartbeat.",
                remedy=f"ALTER SCHEMA {ident(SCHEMA)} RENAME TO {ident(SCHEMA + '_old')};",
                side="source",
                database=database.name,
            )


def own_slots(facts: Facts) -> Iterator[Finding]:
    """The slots that hold what the copy lacks: lost WAL cannot be brought back."""
    source = facts.source
    if source is None:
        return
    slots = {s.name: s for s in source.slots}
    for database in source.moving:
        slot = slots.get(facts.names.slot(database.oid))
        if slot is not None and slot.wal_status not in ("lost", "unreserved") and slot.plugin == "pgoutput":
            continue
        state = "is not there" if slot is None else f"is {slot.wal_status}, with the plugin {slot.plugin}"
        warning = slot is not None and slot.wal_status == "unreserved" and slot.plugin == "pgoutput"
        yield Finding(
            "warns" if warning else "blocks",
            found=f"The slot {facts.names.slot(database.oid)} {state}.",
            needed="A slot that has kept all WAL since prepare.",
            remedy="Let the target catch up at once, or raise max_slot_wal_keep_size: the next checkpoint may "
            "invalidate the slot."
            if warning
            else "The changes since the snapshot are lost: python -m controller abandon, then a new attempt.",
            side="source",
            database=database.name,
        )


def own_copy(facts: Facts) -> Iterator[Finding]:
    """The target's control database came with the snapshot: it tells whose copy, and of when, the target is."""
    if facts.source is None or facts.target is None:
        return
    here, there = ((side.records or Records()).identity for side in (facts.source, facts.target))
    if there != here:
        yield Finding(
            "blocks",
            found="The target is no copy of a snapshot of this migration: its control database says "
            f"{there or 'nothing'}, the source's {here or 'nothing'}.",
            needed="A snapshot taken after prepare, of this source and this attempt: no other can be joined exactly.",
            remedy="python -m controller abandon, then a new attempt, beginning with prepare.",
            side="target",
        )


def other_slots(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None:
        return
    others = [s for s in source.slots if not facts.ours(s.name)]
    if others:
        yield Finding(
            "warns",
            found="Slots of others: "
            + listed(f"{s.name} ({s.plugin or 'physical'}{f' in {s.database}' if s.database else ''})" for s in others)
            + ".",
            needed="A plan for what reads them (change data capture, DMS, replicas): slots do not move to the target.",
            remedy="At the cutover, let these consumers end, make such slots on the target, start them there.",
            side="source",
        )


def subscriptions(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        for subscription in server.subscriptions:
            if facts.ours(subscription.name):
                continue
            name = ident(subscription.name)
            if subscription.enabled:
                yield Finding(
                    "blocks",
                    found=f"The subscription {name} is enabled.",
                    needed="None that is enabled when the snapshot is taken: the copy would have it too, take over "
                    "its slot while the source restarts, and rows would be lost for good.",
                    remedy=f"ALTER SUBSCRIPTION {name} DISABLE;",
                    side=server.side,
                    database=subscription.database,
                )
            elif server.side == "source":
                yield Finding(
                    "warns",
                    found=f"The subscription {name} is there, disabled.",
                    needed="That it stays disabled until the target is open; its copy is detached from the slot.",
                    remedy=f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE);\nDROP SUBSCRIPTION {name};"
                    " -- only if it is not needed any more",
                    side=server.side,
                    database=subscription.database,
                )


def prepared_transactions(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None:
        return
    before = facts.stage < Stage.RESTORED
    for prepared in source.prepared:
        yield Finding(
            "blocks" if before else "warns",
            found=f"A prepared transaction {literal(prepared.gid)} of {prepared.owner}.",
            needed="None: a slot waits for it at its making, and a copy of it on the target holds up the apply."
            if before
            else "None at the cutover: its locks and its outcome would stay behind.",
            remedy=f"ROLLBACK PREPARED {literal(prepared.gid)}; -- or COMMIT PREPARED, as role {ident(prepared.owner)}",
            side="source",
            database=prepared.database,
        )
    if not source.prepared and int(source.settings["max_prepared_transactions"]) > 0:
        yield Finding(
            "warns",
            found=f"max_prepared_transactions = {source.settings['max_prepared_transactions']}: "
            "two-phase commit is possible.",
            needed="No transaction prepared while the snapshot is taken, nor at the cutover.",
            remedy="Hold back what uses two-phase commit at those two moments.",
            side="source",
        )


def schedulers(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None:
        return
    loaded = source.settings.get("shared_preload_libraries", "")
    for database, contents in source.readable:
        if contents.cron_jobs:
            yield Finding(
                "blocks",
                found=f"{contents.cron_jobs} active jobs of pg_cron.",
                needed="None: the copy starts them too, before anyone can reach it, and they pass by read-only.",
                remedy="UPDATE cron.job SET active = false WHERE active; -- note them; active again after the cutover",
                side="source",
                database=database.name,
            )
        elif contents.cron_jobs == 0 and "pg_cron" in loaded:
            yield Finding(
                "warns",
                found="pg_cron is loaded; no active job is visible to the controller's role.",
                needed="No active job of anyone: row-level security hides those of other roles.",
                remedy="SELECT jobid, username, schedule, command FROM cron.job WHERE active;"
                " -- as a role that sees all",
                side="source",
                database=database.name,
            )
        if contents.partman:
            yield Finding(
                "warns",
                found="pg_partman makes partitions here.",
                needed="No new partition between the snapshot and the cutover: its rows would be skipped in silence.",
                remedy="Make the partitions of the coming days now (partman.run_maintenance), then pause maintenance.",
                side="source",
                database=database.name,
            )
    if "pg_partman_bgw" in loaded and source.settings.get("pg_partman_bgw.dbname"):
        yield Finding(
            "blocks",
            found=f"pg_partman's background worker runs for {source.settings['pg_partman_bgw.dbname']}.",
            needed="None: the copy would start it too, before anyone can reach it, and it passes by read-only.",
            remedy="Set pg_partman_bgw.dbname to '' in the source's parameter group until the cutover.",
            side="source",
        )


def long_transactions(facts: Facts) -> Iterator[Finding]:
    source = facts.source
    if source is None:
        return
    for session in source.writers:
        if (session.transaction_seconds or 0) < LONG_SECONDS:
            continue
        yield Finding(
            "warns",
            found=f"A transaction of {session.role} ({session.application or 'no application_name'}) has been writing "
            f"for {duration(session.transaction_seconds or 0)}.",
            needed="Short transactions: making a slot waits for every transaction that writes.",
            remedy=f"SELECT pg_terminate_backend({session.pid}); -- it is rolled back",
            side="source",
            database=session.database,
        )
