"""Join the restored copy to the source at the exact LSN, and follow until it has caught up."""

from psycopg import errors, sql

from controller import control, rds, replication_role, subscriptions
from controller.cutover import lasting
from controller.errors import Failed, NotYet, Refused
from controller.exact_lsn import find_exact_lsn
from controller.lsn import LSN
from controller.migration import Migration
from controller.names import CONTROL_DATABASE, REPLICATION_ROLE
from controller.observe import ServerState, State, Subscription
from controller.server import Server
from controller.waiting import wait_until

STALL_SECONDS = 600.0
"""Catch-up may take days; only this long without any progress is a failure."""


def _source(state: State) -> ServerState:
    assert state.source is not None, "before OPEN the source is always observed"
    return state.source


def _target(state: State) -> ServerState:
    assert state.target is not None, "replicate looks for the target first"
    return state.target


def _forward(m: Migration, state: State) -> list[Subscription | None]:
    """The forward subscription of each migrated database, None where there is none."""
    return [_target(state).subscriptions.get(m.names.slot(d.oid)) for d in state.migrated]


# Is it our copy, and is it encrypted?


def refuse_wrong_copy(m: Migration, state: State) -> None:
    """Raise Refused where the target is not the encrypted copy of a snapshot of this migration and attempt."""
    side = m.outputs.target
    assert side is not None
    found = rds.instance(m.aws, side.identifier)
    if found.status != "available":
        raise NotYet(f"The target {side.identifier} is {found.status}.", hint="Run this again when it is available.")
    if not found.encrypted:
        raise Refused(
            f"The target {side.identifier} is not encrypted.",
            detail="AWS says StorageEncrypted is false. Moving there would change nothing.",
            hint="Was it restored from the plain snapshot? Abandon, set attempt one higher, and run pulumi up again.",
        )
    if found.kms_key_arn != m.outputs.kms_key_arn:
        raise Refused(
            f"The target {side.identifier} is encrypted under another key.",
            detail=f"It is under {found.kms_key_arn}; the stack asks for {m.outputs.kms_key_arn}.",
            hint="Abandon, set attempt one higher, and run pulumi up again; or correct kmsKey in the stack's config.",
        )
    ours, theirs = (_source(state).records or {}).get("migration"), (_target(state).records or {}).get("migration")
    if ours is None or "prepared" not in (_source(state).records or {}):
        raise NotYet(
            "The source is not prepared.",
            hint=f"Run python -m controller prepare --stack {m.outputs.stack} first: the snapshot comes after it.",
        )
    if theirs is None or any(ours[key] != theirs[key] for key in ("stack", "attempt", "source_resource_id", "started")):
        raise Refused(
            "The target is not the copy of a snapshot of this migration.",
            detail=f"The source's control database says {ours}; the copy's says {theirs or 'nothing at all'}.",
            hint="A snapshot made before prepare, of another attempt or of another source cannot be joined without "
            "losing changes. Abandon, set attempt one higher, and begin again with prepare.",
        )
    if not _source(state).logical:
        raise Refused(
            "Logical replication was switched off on the source since prepare.",
            detail=f"wal_level is {_source(state).settings['wal_level']}, track_commit_timestamp is "
            f"{_source(state).settings['track_commit_timestamp']}. Changes may be missing from the slots.",
            hint="Somebody attached another parameter group. Abandon, set attempt one higher, and begin again.",
        )
    slots = _source(state).slots
    wanted = [m.names.slot(d.oid) for d in state.migrated]
    gone = [name for name in wanted if name not in slots or slots[name].wal_status == "lost"]
    if gone:
        raise Refused(
            "A replication slot on the source is gone.",
            detail=f"Missing or invalidated: {', '.join(gone)}. The changes it kept cannot be had again.",
            hint="Abandon, set attempt one higher, and begin again. If max_slot_wal_keep_size invalidated it, raise "
            "that first.",
        )


# Tame the copy: nobody but us and the apply workers may act on it.


def keepers(m: Migration) -> list[str]:
    """Roles that may still connect to a closed database: ours, the walsenders', the subscriptions' owner (ours)."""
    return [m.the_target.login.user, m.source.login.user, REPLICATION_ROLE]


def is_tame(m: Migration, state: State) -> bool:
    target = _target(state)
    ours = {m.names.slot(d.oid) for d in state.migrated}
    backs = {m.names.back_slot(d.oid) for d in state.migrated}
    return (
        "tamed" in (target.records or {})
        and not target.prepared_transactions
        and all(name in backs for name in target.slots)
        and all(s.name in ours or not s.enabled for s in target.subscriptions.values())
    )


def tame(m: Migration, state: State) -> None:
    target, server = _target(state), m.the_target
    lasting.close(server, state.migrated, keep=sorted(set(keepers(m))))
    _end_sessions(m, state)
    backs = {m.names.back_slot(d.oid) for d in state.migrated}
    with server.translated("postgres"):
        for name in target.slots.keys() - backs:
            server.db("postgres").execute("SELECT pg_drop_replication_slot(%s)", [name])
    ours = {m.names.slot(d.oid) for d in state.migrated}
    for subscription in target.subscriptions.values():
        if subscription.name not in ours:
            _detach(server, subscription)
    if target.prepared_transactions:
        _roll_back_prepared(m)
    control.record(server, "tamed", {"attempt": m.outputs.attempt})


def _detach(server: Server, subscription: Subscription) -> None:
    """Cut an inherited subscription off from its upstream: enabled, it would take the slot that production uses."""
    name = sql.Identifier(subscription.name)
    with server.translated(subscription.database):
        db = server.db(subscription.database)
        db.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
        db.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))


def _end_sessions(m: Migration, state: State) -> None:
    """End whoever connected to the copy before it was closed; the closed databases let nobody back in."""
    server = m.the_target
    with server.translated("postgres"):
        server.db("postgres").execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = ANY (%s) AND backend_type = 'client backend' AND pid <> ALL (%s)""",
            [[d.name for d in state.migrated], [*server.pids(), 0]],
        )


def _roll_back_prepared(m: Migration) -> None:
    server = m.the_target
    with server.translated("postgres"):
        listed = server.db("postgres").execute("SELECT gid, database, owner FROM pg_prepared_xacts").fetchall()
    for gid, database, owner in listed:
        try:
            with server.translated(database):
                server.db(database).execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
        except Failed as problem:
            raise Refused(
                f"The copy inherited the prepared transaction {gid!r}, and it cannot be rolled back.",
                detail=f"{problem.detail} It would make the apply worker hang.",
                hint=f"Log in to the target as {owner}, in database {database}: ROLLBACK PREPARED {gid!r}; "
                "then run this again.",
            ) from None


# The exact LSN: found, proved, kept.


def has_exact_lsn(m: Migration, state: State) -> bool:
    found = (_source(state).records or {}).get("exact_lsn")
    return found is not None and found.get("target_resource_id") == _target_id(m)


def _target_id(m: Migration) -> str:
    assert m.outputs.target is not None
    return m.outputs.target.resource_id


def find_lsn(m: Migration, state: State) -> None:
    exact = find_exact_lsn(m, state)
    document = exact.as_json() | {"target_resource_id": _target_id(m)}
    control.record(m.source, "exact_lsn", document)
    control.record(m.the_target, "exact_lsn", document)
    m.say(f"the copy holds exactly the commits before {exact.value}, proved by {exact.proof.by}")


def exact_lsn(state: State) -> LSN:
    """The recorded exact LSN."""
    return LSN.parse(state.records["exact_lsn"]["lsn"]["value"])


# Subscriptions, without a copy of the data, disabled until the origin stands.


def has_subscriptions(m: Migration, state: State) -> bool:
    return all(_forward(m, state))


def make_subscriptions(m: Migration, state: State) -> None:
    # One role, so one password for all of them: made anew, and given to those that are there already.
    password = replication_role.set_password(m.source)
    for database in state.migrated:
        name = m.names.slot(database.oid)
        subscriptions.create(
            m.the_target,
            database.name,
            name=name,
            slot=name,
            publication=m.names.publication,
            publisher=m.source,
            password=password,
        )


def has_origins(m: Migration, state: State) -> bool:
    lsn = exact_lsn(state)
    return all(s is not None and s.origin_lsn is not None and s.origin_lsn >= lsn for s in _forward(m, state))


def advance_origins(m: Migration, state: State) -> None:
    lsn = exact_lsn(state)
    for database, subscription in zip(state.migrated, _forward(m, state), strict=True):
        if subscription is None or subscription.origin_lsn is None or subscription.origin_lsn < lsn:
            subscriptions.advance_origin(m.the_target, database.name, m.names.slot(database.oid), lsn)


def is_enabled(m: Migration, state: State) -> bool:
    return all(s is not None and s.enabled for s in _forward(m, state))


def enable(m: Migration, state: State) -> None:
    for database in state.migrated:
        subscriptions.enable(m.the_target, database.name, m.names.slot(database.oid))


# Follow until a heartbeat committed now is seen on the other side.


def never_done(m: Migration, state: State) -> bool:
    """Catching up is asked anew each time: it costs one heartbeat."""
    return False


def catch_up(m: Migration, state: State) -> None:
    marks: dict[str, int] = {}
    for database in state.migrated:
        with m.source.translated(database.name):
            row = m.source.db(database.name).execute(
                "UPDATE encryptdb.heartbeat SET n = n + 1, at = clock_timestamp() RETURNING n"
            ).fetchone()  # fmt: skip
        assert row is not None
        marks[database.name] = row[0]
    waiting = set(marks)
    best, moved = -1, m.clock.monotonic()

    def seen() -> bool | None:
        nonlocal best, moved
        for name in sorted(waiting):
            with m.the_target.translated(name):
                row = m.the_target.db(name).execute("SELECT n FROM encryptdb.heartbeat").fetchone()
            if row is not None and row[0] >= marks[name]:
                waiting.discard(name)
        if not waiting:
            return True
        position = _applied(m)
        if position > best:
            best, moved = position, m.clock.monotonic()
        elif m.clock.monotonic() - moved > STALL_SECONDS:
            raise Failed(
                f"The target has applied nothing for {STALL_SECONDS:.0f} s.",
                detail=f"Not caught up in: {', '.join(sorted(waiting))}. {_workers(m)}",
                hint="The target's server log says what the apply worker cannot do (a table that differs, a lock, a "
                "trigger). Nothing is lost: the slots on the source keep what is missing.",
            )
        return None

    wait_until(
        seen,
        what="the target to catch up",
        seconds=float("inf"),
        every=0.1,
        reporter=m.reporter,
        clock=m.clock,
        progress=lambda: f"{_lag(m):,} bytes behind",
    )
    control.record(m.source, "caught_up", {"heartbeats": marks})


def _applied(m: Migration) -> int:
    """How far the target's origins have come, summed over databases, in bytes."""
    with m.the_target.translated("postgres"):
        row = m.the_target.db("postgres").execute(
            "SELECT sum(pg_replication_origin_progress(roname, false) - '0/0') FROM pg_replication_origin"
        ).fetchone()  # fmt: skip
    return int(row[0] or 0) if row else 0


def _lag(m: Migration) -> int:
    """Bytes of WAL that the slowest slot has not confirmed."""
    with m.source.translated(CONTROL_DATABASE):
        row = m.source.db().execute(
            "SELECT max(pg_current_wal_lsn() - confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name LIKE %s",
            [m.names.publication.replace("_", r"\_") + "%"],
        ).fetchone()  # fmt: skip
    return int(row[0] or 0) if row else 0


def _workers(m: Migration) -> str:
    try:
        with m.the_target.translated(CONTROL_DATABASE):
            listed = m.the_target.db().execute(
                "SELECT subname, apply_error_count FROM pg_stat_subscription_stats WHERE apply_error_count > 0"
            ).fetchall()  # fmt: skip
    except (Failed, errors.UndefinedTable):
        return ""
    return "Apply errors: " + ", ".join(f"{name}: {count}" for name, count in listed) if listed else ""


def undo_replication(m: Migration, state: State) -> None:
    """Let the target go: drop its subscriptions, so that no worker takes a slot again. The copy stays as it is."""
    if m.target is None or state.target is None:
        return
    for name, subscription in state.target.subscriptions.items():
        if name.startswith(m.names.publication):
            subscriptions.drop(m.target, subscription.database, name)
    with m.target.translated("postgres"):
        for name in state.target.slots:
            if name.startswith(m.names.publication):
                m.target.db("postgres").execute("SELECT pg_drop_replication_slot(%s)", [name])
