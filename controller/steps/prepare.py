"""Make the source ready for its snapshot. Order matters: publication before slot, slot and heartbeat before the
snapshot, commit timestamps before all of them."""

from datetime import UTC, datetime

from psycopg import sql

from encryptdb.controller import prepared_parameter
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed, to_migrate
from encryptdb.controller.postgres import control, replication_role, watchdog
from encryptdb.controller.record_values import DatabaseName, Heartbeat, PreparedSlot, as_json
from encryptdb.controller.records import Databases, Heartbeats, Identity, Prepared, Records
from encryptdb.controller.steps.step import observed_source
from encryptdb.stacks.contract.errors import Refused

HEARTBEAT_SQL = """
CREATE SCHEMA IF NOT EXISTS encryptdb;
CREATE TABLE IF NOT EXISTS encryptdb.heartbeat (
    id integer PRIMARY KEY CHECK (id = 1),
    n  bigint NOT NULL,
    at timestamptz NOT NULL
);
REVOKE ALL ON SCHEMA encryptdb FROM PUBLIC;
INSERT INTO encryptdb.heartbeat VALUES (1, 0, clock_timestamp()) ON CONFLICT DO NOTHING;
"""

BEAT_SQL = """
-- A commit of our own, to be recognised later: its xid (32 bits, as pg_xact_commit_timestamp takes it).
UPDATE encryptdb.heartbeat SET n = n + 1, at = clock_timestamp()
RETURNING (pg_current_xact_id()::text::numeric % 4294967296)::bigint
"""

# The control database, first of all: it remembers what has to be undone.


def has_control(m: Migration, observed: Observed) -> bool:
    records = observed_source(observed).records
    return records is not None and records.identity is not None and records.databases is not None


def make_control(m: Migration, observed: Observed) -> None:
    control.create(m.source)
    watchdog.install(m.source)
    databases = to_migrate(observed_source(observed))
    control.write(m.source, Databases(tuple(DatabaseName(d.oid, d.name) for d in databases)))
    control.write(
        m.source,
        Identity(m.outputs.stack, m.outputs.attempt, m.outputs.source.resource_id, started=datetime.now(UTC)),
    )


def drop_control(m: Migration, observed: Observed) -> None:
    control.drop(m.source)


def refuse_another_attempt(m: Migration, observed: Observed) -> None:
    """Raise Refused where the source is in the middle of another migration, or another attempt of this one."""
    found = (observed_source(observed).records or Records()).identity
    if found is None:
        return
    if (found.stack, found.attempt) != (m.outputs.stack, m.outputs.attempt):
        raise Refused(
            "The source is already being migrated by another stack or attempt.",
            detail=f"Its control database belongs to stack {found.stack}, attempt {found.attempt}; "
            f"this is stack {m.outputs.stack}, attempt {m.outputs.attempt}.",
            hint=f"Abandon that one first (python -m controller abandon, with stack {found.stack} at attempt "
            f"{found.attempt}), or set the stack's attempt back to it.",
        )
    if found.source_resource_id != m.outputs.source.resource_id:
        raise Refused(
            "The source's control database came from another instance.",
            detail=f"It was made on {found.source_resource_id}; the stack's source is "
            f"{m.outputs.source.resource_id}. So this instance is itself a restored copy.",
            hint="Check `source` in the stack's config. If this really is the source, drop the database encryptdb on "
            "it, and run this again.",
        )


# The role that subscriptions log in with.


def has_role(m: Migration, observed: Observed) -> bool:
    return bool(observed_source(observed).replication_role)


def make_role(m: Migration, observed: Observed) -> None:
    replication_role.make(m.source, [d.oid for d in observed.migrated])


def drop_role(m: Migration, observed: Observed) -> None:
    replication_role.drop(m.source)


# Heartbeat and publication: in every migrated database.


def has_heartbeats(m: Migration, observed: Observed) -> bool:
    return all(d.name in (o := observed_source(observed).objects) and o[d.name].heartbeat for d in observed.migrated)


def make_heartbeats(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute(HEARTBEAT_SQL)


def drop_heartbeats(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute("DROP SCHEMA IF EXISTS encryptdb CASCADE")


def has_publications(m: Migration, observed: Observed) -> bool:
    objects = observed_source(observed).objects
    return all(d.name in objects and m.names.publication in objects[d.name].publications for d in observed.migrated)


def make_publications(m: Migration, observed: Observed) -> None:
    name = sql.Identifier(m.names.publication)
    for database in observed.migrated:
        if m.names.publication not in observed_source(observed).objects[database.name].publications:
            with m.source.translated(database.name):
                m.source.db(database.name).execute(sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES").format(name))


def drop_publications(m: Migration, observed: Observed) -> None:
    name = sql.Identifier(m.names.publication)
    for database in observed.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(name))


# The first commit of our own after the slots: every snapshot of this migration holds it.


def has_first_beat(m: Migration, observed: Observed) -> bool:
    recorded = (observed_source(observed).records or Records()).heartbeats
    return all(recorded is not None and d.name in recorded.databases for d in observed.migrated)


def make_first_beat(m: Migration, observed: Observed) -> None:
    beats: dict[str, Heartbeat] = {}
    for database in observed.migrated:
        with m.source.translated(database.name):
            db = m.source.db(database.name)
            db.execute("SET synchronous_commit = on")
            row = db.execute(BEAT_SQL).fetchone()
            assert row is not None
            told = db.execute(
                "SELECT pg_xact_commit_timestamp(%s::text::xid), pg_current_wal_insert_lsn()", [row[0]]
            ).fetchone()
            assert told is not None
            beats[database.name] = Heartbeat(row[0], told[0], told[1])
    control.write(m.source, Heartbeats(beats))


# The word to Pulumi, last of all.


def has_parameter(m: Migration, observed: Observed) -> bool:
    prepared = (observed_source(observed).records or Records()).prepared
    found = observed.prepared_parameter
    return (
        prepared is not None
        and found is not None
        and found.get("source_resource_id") == m.outputs.source.resource_id
        and found.get("attempt") == m.outputs.attempt
    )


def write_parameter(m: Migration, observed: Observed) -> None:
    slots = observed_source(observed).slots
    prepared = Prepared(
        source_resource_id=m.outputs.source.resource_id,
        attempt=m.outputs.attempt,
        slots={
            d.name: PreparedSlot(name := m.names.slot(d.oid), slots[name].confirmed_flush_lsn)
            for d in observed.migrated
        },
        time=datetime.now(UTC),
    )
    control.write(m.source, prepared)
    prepared_parameter.write(m, as_json(prepared))


def delete_parameter(m: Migration, observed: Observed) -> None:
    prepared_parameter.delete(m)
