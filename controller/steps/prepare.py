"""Make the source ready for its snapshot. Order matters: publication before slot, slot and heartbeat before the
snapshot, commit timestamps before all of them."""

import threading
from datetime import UTC, datetime
from typing import Any

from psycopg import errors, sql

from controller import control, mark, rds, replication_role
from controller.cutover import watchdog
from controller.errors import NotYet, Refused
from controller.migration import Migration
from controller.observe import State, observe_server, to_migrate
from controller.server import Db, Server
from controller.waiting import wait_until

SLOT_SECONDS = 900.0
"""How long making a slot may wait for the transactions that were running when it began."""

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

OLDEST_TRANSACTION_SQL = """
SELECT format('pid %s, %s, open since %s', pid, usename, xact_start) FROM pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> ALL (%s) ORDER BY xact_start LIMIT 1
"""


def _source(state: State) -> Any:
    assert state.source is not None, "before OPEN the source is always observed"
    return state.source


# The control database, first of all: it remembers what has to be undone.


def has_control(m: Migration, state: State) -> bool:
    records = _source(state).records
    return bool(records) and "migration" in records and "databases" in records


def make_control(m: Migration, state: State) -> None:
    control.create(m.source)
    watchdog.install(m.source)
    databases = to_migrate(_source(state))
    control.record(m.source, "databases", [{"oid": d.oid, "name": d.name} for d in databases])
    control.record(
        m.source,
        "migration",
        {
            "stack": m.outputs.stack,
            "attempt": m.outputs.attempt,
            "source_resource_id": m.outputs.source.resource_id,
            "started": datetime.now(UTC).isoformat(),
        },
    )


def drop_control(m: Migration, state: State) -> None:
    control.drop(m.source)


def refuse_another_attempt(m: Migration, state: State) -> None:
    """Raise Refused where the source is in the middle of another migration, or another attempt of this one."""
    found = (_source(state).records or {}).get("migration")
    if found is None:
        return
    if (found["stack"], found["attempt"]) != (m.outputs.stack, m.outputs.attempt):
        raise Refused(
            "The source is already being migrated by another stack or attempt.",
            detail=f"Its control database belongs to stack {found['stack']}, attempt {found['attempt']}; "
            f"this is stack {m.outputs.stack}, attempt {m.outputs.attempt}.",
            hint=f"Abandon that one first (python -m controller abandon, with stack {found['stack']} at attempt "
            f"{found['attempt']}), or set the stack's attempt back to it.",
        )
    if found["source_resource_id"] != m.outputs.source.resource_id:
        raise Refused(
            "The source's control database came from another instance.",
            detail=f"It was made on {found['source_resource_id']}; the stack's source is "
            f"{m.outputs.source.resource_id}. So this instance is itself a restored copy.",
            hint="Check `source` in the stack's config. If this really is the source, drop the database encryptdb on "
            "it, and run this again.",
        )


# Parameters: logical decoding and commit timestamps. Both need a reboot.


def has_parameters(m: Migration, state: State) -> bool:
    return bool(_source(state).logical)


def refuse_reboot_without_leave(m: Migration, state: State) -> None:
    """Raise NotYet, before anything is changed, where a reboot is needed and was not allowed."""
    if has_parameters(m, state) or m.options.allow_reboot:
        return
    settings = _source(state).settings
    raise NotYet(
        "The source must be rebooted once, and that was not allowed.",
        detail=f"wal_level is {settings['wal_level']} and track_commit_timestamp is "
        f"{settings['track_commit_timestamp']}; logical and on are needed, and both act only after a reboot "
        "(usually well under a minute, longer where recovery has much to do). Nothing was attached or changed.",
        hint=f"In a quiet moment: python -m controller prepare --stack {m.outputs.stack} --allow-reboot",
    )


def set_parameters(m: Migration, state: State) -> None:
    refuse_reboot_without_leave(m, state)
    identifier, group = m.outputs.source.identifier, m.outputs.source_parameter_group
    found = rds.instance(m.aws, identifier)
    wanted = group or found.parameter_group
    if found.parameter_group != wanted:
        control.record(m.source, "parameters", {"before": found.parameter_group})
        m.say(f"attaching parameter group {wanted} to {identifier} (was {found.parameter_group})")
        rds.attach_parameter_group(m.aws, identifier, wanted)
    # A group that was attached earlier, or an owner's own group, may already be waiting for its reboot.
    rds.wait_for_instance(
        m.aws, identifier, parameters=frozenset({"pending-reboot", "in-sync"}), reporter=m.reporter, clock=m.clock
    )
    m.say(f"rebooting {identifier}: its clients are disconnected now and can come back when it is up")
    m.source.close()
    rds.reboot(m.aws, identifier)
    rds.wait_for_instance(m.aws, identifier, parameters=frozenset({"in-sync"}), reporter=m.reporter, clock=m.clock)
    if not observe_server(m.source).logical:
        raise Refused(
            "The source was rebooted, but logical replication is still off.",
            detail=f"The parameter group {wanted} does not set rds.logical_replication=1 and track_commit_timestamp=1.",
            hint="With parameterGroup: existing, its owner must set both there; otherwise run pulumi up, then this.",
        )


def restore_parameters(m: Migration, state: State) -> None:
    """Attach the group that the source had. It acts at the next reboot, which only happens where allowed."""
    before = (_source(state).records or {}).get("parameters", {}).get("before")
    identifier = m.outputs.source.identifier
    found = rds.find_instance(m.aws, identifier)
    if before is None or found is None:
        return
    if found.parameter_group != before:
        m.say(f"attaching the source's former parameter group {before}")
        rds.attach_parameter_group(m.aws, identifier, before)
    found = rds.wait_for_instance(
        m.aws, identifier, parameters=frozenset({"pending-reboot", "in-sync"}), reporter=m.reporter, clock=m.clock
    )
    if found.parameter_status == "in-sync":
        return
    if not m.options.allow_reboot:
        m.say(f"{before} acts from the source's next reboot on; until then the source only writes a little more WAL")
        return
    m.source.close()
    rds.reboot(m.aws, identifier)
    rds.wait_for_instance(m.aws, identifier, parameters=frozenset({"in-sync"}), reporter=m.reporter, clock=m.clock)


# The role that subscriptions log in with.


def has_role(m: Migration, state: State) -> bool:
    return bool(_source(state).replication_role)


def make_role(m: Migration, state: State) -> None:
    replication_role.make(m.source, [d.oid for d in state.migrated])


def drop_role(m: Migration, state: State) -> None:
    replication_role.drop(m.source)


# Heartbeat, publication, slot: in every migrated database.


def has_heartbeats(m: Migration, state: State) -> bool:
    return all(d.name in (o := _source(state).objects) and o[d.name].heartbeat for d in state.migrated)


def make_heartbeats(m: Migration, state: State) -> None:
    for database in state.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute(HEARTBEAT_SQL)


def drop_heartbeats(m: Migration, state: State) -> None:
    for database in state.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute("DROP SCHEMA IF EXISTS encryptdb CASCADE")


def has_publications(m: Migration, state: State) -> bool:
    objects = _source(state).objects
    return all(d.name in objects and m.names.publication in objects[d.name].publications for d in state.migrated)


def make_publications(m: Migration, state: State) -> None:
    name = sql.Identifier(m.names.publication)
    for database in state.migrated:
        if m.names.publication not in _source(state).objects[database.name].publications:
            with m.source.translated(database.name):
                m.source.db(database.name).execute(sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES").format(name))


def drop_publications(m: Migration, state: State) -> None:
    name = sql.Identifier(m.names.publication)
    for database in state.migrated:
        with m.source.translated(database.name):
            m.source.db(database.name).execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(name))


def has_slots(m: Migration, state: State) -> bool:
    return all(m.names.slot(d.oid) in _source(state).slots for d in state.migrated)


def make_slots(m: Migration, state: State) -> None:
    for database in state.migrated:
        name = m.names.slot(database.oid)
        if name not in _source(state).slots:
            connection = m.source.connect(database.name, statement_seconds=SLOT_SECONDS)
            try:
                with m.source.translated(database.name):
                    _make_slot(m, connection, name)
            finally:
                connection.close()


def _make_slot(m: Migration, connection: Db, name: str) -> None:
    """Make one slot, telling whose transaction it waits for. Interrupted, the server leaves no slot behind."""
    outcome: list[BaseException | None] = []

    def make() -> None:
        try:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    def waits_for() -> str:
        row = m.source.db("postgres").execute(OLDEST_TRANSACTION_SQL, [[connection.info.backend_pid]]).fetchone()
        return f"the oldest transaction that may be in the way: {row[0]}" if row else "no transaction is in the way"

    worker = threading.Thread(target=make, daemon=True)
    worker.start()
    try:
        wait_until(
            lambda: outcome or None,
            what=f"slot {name} (it waits for every transaction that is running now)",
            seconds=SLOT_SECONDS + 10,
            every=0.02,
            reporter=m.reporter,
            clock=m.clock,
            progress=waits_for,
        )
    except BaseException:
        connection.cancel_safe()
        worker.join(5)
        raise
    if outcome[0] is not None:
        raise outcome[0]


def drop_slots(m: Migration, state: State) -> None:
    for database in state.migrated:
        drop_slot(m, m.names.slot(database.oid), m.source)


def drop_slot(m: Migration, name: str, server: Server) -> None:
    """Drop one slot, ending the walsender that holds it."""
    with server.translated("postgres"):
        db = server.db("postgres")

        def gone() -> bool | None:
            row = db.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone()
            if row is None:
                return True
            if row[0] is not None:
                db.execute("SELECT pg_terminate_backend(%s)", [row[0]])
                return None
            # A subscriber that is still enabled may take the slot between the look and the drop: then we look again.
            try:
                db.execute("SELECT pg_drop_replication_slot(%s)", [name])
            except errors.ObjectInUse:
                return None
            return True

        wait_until(gone, what=f"slot {name} to be free", seconds=60, every=0.05, reporter=m.reporter, clock=m.clock)


# The first commit of our own after the slots: every snapshot of this migration holds it.


def has_first_beat(m: Migration, state: State) -> bool:
    beats = (_source(state).records or {}).get("heartbeats", {})
    return all(d.name in beats for d in state.migrated)


def make_first_beat(m: Migration, state: State) -> None:
    beats: dict[str, Any] = {}
    for database in state.migrated:
        with m.source.translated(database.name):
            db = m.source.db(database.name)
            db.execute("SET synchronous_commit = on")
            row = db.execute(BEAT_SQL).fetchone()
            assert row is not None
            told = db.execute(
                "SELECT pg_xact_commit_timestamp(%s::text::xid), pg_current_wal_insert_lsn()", [row[0]]
            ).fetchone()
            assert told is not None
            beats[database.name] = {"xid": row[0], "at": told[0].isoformat(), "lsn": str(told[1])}
    control.record(m.source, "heartbeats", beats)


# The word to Pulumi, last of all.


def has_mark(m: Migration, state: State) -> bool:
    prepared = (_source(state).records or {}).get("prepared")
    found = state.mark
    return (
        prepared is not None
        and found is not None
        and found.get("source_resource_id") == m.outputs.source.resource_id
        and found.get("attempt") == m.outputs.attempt
    )


def make_mark(m: Migration, state: State) -> None:
    slots = _source(state).slots
    document = {
        "source_resource_id": m.outputs.source.resource_id,
        "attempt": m.outputs.attempt,
        "slots": {
            d.name: {"name": m.names.slot(d.oid), "lsn": str(slots[m.names.slot(d.oid)].confirmed_flush_lsn)}
            for d in state.migrated
        },
        "time": datetime.now(UTC).isoformat(),
    }
    control.record(m.source, "prepared", document)
    mark.write(m, document)


def delete_mark(m: Migration, state: State) -> None:
    mark.delete(m)
