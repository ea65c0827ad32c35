"""Make the source ready for its snapshot. Order matters: publication before slot, slot and heartbeat before the
snapshot, commit timestamps before all of them."""

from datetime import UTC, datetime

from psycopg import sql

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import to_migrate
from encryptdb.controller.postgres import control, heartbeat, replication_role
from encryptdb.controller.record_values import DatabaseName, Heartbeat, PreparedSlot, as_json
from encryptdb.controller.records import Databases, Heartbeats, Identity, Prepared, Records
from encryptdb.controller.steps.step import observed_source
from encryptdb.stacks.cloud import prepared_parameter
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.contract.errors import AGAIN, Refused

# The control database, first of all: it remembers what has to be undone.


def has_control(m: Migration, observed: Observed) -> bool:
    records = observed_source(observed).records
    return records is not None and records.identity is not None and records.databases is not None


def make_control(m: Migration, observed: Observed) -> None:
    control.create(m.source)
    databases = to_migrate(observed_source(observed))
    control.write(m.source, Databases(tuple(DatabaseName(d.oid, d.name) for d in databases)))
    control.write(
        m.source,
        Identity(m.outputs.stack, m.outputs.attempt, m.outputs.source.resource_id, started=datetime.now(UTC)),
    )


def drop_control(m: Migration, observed: Observed) -> None:
    control.drop(m.source)


def refuse_copied_control_database(m: Migration, observed: Observed) -> None:
    """Raise Refused if the control database on the source came with a snapshot of another instance."""
    records = observed_source(observed).records
    found = records.identity if records else None
    if found is not None and found.source_resource_id != m.outputs.source.resource_id:
        raise Refused(
            "The source's control database came from another instance.",
            detail=f"It was made on {found.source_resource_id}; the stack's source is "
            f"{m.outputs.source.resource_id}: this instance is itself a restored copy.",
            hint="Check encryptdb:source in the stack's config. If it is right, drop the database encryptdb on the "
            f"source, then: {AGAIN}",
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
        heartbeat.create(m.source, database.name)


def drop_heartbeats(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        heartbeat.drop(m.source, database.name)


def has_publications(m: Migration, observed: Observed) -> bool:
    objects = observed_source(observed).objects
    return all(d.name in objects and m.names.publication in objects[d.name].publications for d in observed.migrated)


def make_publications(m: Migration, observed: Observed) -> None:
    create = sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES").format(sql.Identifier(m.names.publication))
    for database in observed.migrated:
        if m.names.publication not in observed_source(observed).objects[database.name].publications:
            m.source.execute(create, database=database.name)


def drop_publications(m: Migration, observed: Observed) -> None:
    drop = sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(m.names.publication))
    for database in observed.migrated:
        m.source.execute(drop, database=database.name)


# The first commit of our own after the slots: every snapshot of this migration holds it.


def has_first_beat(m: Migration, observed: Observed) -> bool:
    recorded = (observed_source(observed).records or Records()).heartbeats
    return all(recorded is not None and d.name in recorded.databases for d in observed.migrated)


def make_first_beat(m: Migration, observed: Observed) -> None:
    beats: dict[str, Heartbeat] = {}
    for database in observed.migrated:
        beat = heartbeat.beat(m.source, database.name)
        at = m.source.value("SELECT pg_xact_commit_timestamp(%s::text::xid)", [beat.xid], database=database.name)
        beats[database.name] = Heartbeat(beat.xid, at, beat.lsn)
    control.write(m.source, Heartbeats(beats))


# The word to Pulumi, last of all.


def has_parameter(m: Migration, observed: Observed) -> bool:
    prepared = (observed_source(observed).records or Records()).prepared
    found = observed.prepared_parameter
    return (
        prepared is not None
        and found is not None
        and found.source_resource_id == m.outputs.source.resource_id
        and found.attempt == m.outputs.attempt
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
    prepared_parameter.write(m.aws, m.outputs.stack, PreparedParameter(**as_json(prepared)))


def delete_parameter(m: Migration, observed: Observed) -> None:
    prepared_parameter.delete(m.aws, m.outputs.stack)
