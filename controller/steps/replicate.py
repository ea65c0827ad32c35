"""Replicate to the restored copy from the exact LSN until it has caught up."""

from dataclasses import replace

from encryptdb.controller.exact_lsn import find_exact_lsn
from encryptdb.controller.exact_lsn.decision import UNCHANGED, bracket
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import Subscription
from encryptdb.controller.postgres import control, heartbeat, replication_role, slots, subscriptions
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.records import CaughtUp, ExactLSN, Records
from encryptdb.controller.steps.step import observed_source, observed_target
from encryptdb.controller.waiting import wait_until
from encryptdb.stacks.contract.errors import Failed, Refused

STALL_SECONDS = 600.0
"""Catch-up may take days; only this long without any progress is a failure."""


def _forward(m: Migration, observed: Observed) -> list[Subscription | None]:
    """The forward subscription of each migrated database; None if it does not exist."""
    return [observed_target(observed).subscriptions.get(m.names.slot(d.oid)) for d in observed.migrated]


# The exact LSN.


def has_exact_lsn(m: Migration, observed: Observed) -> bool:
    found = (observed_source(observed).records or Records()).exact_lsn
    return found is not None and found.target_resource_id == _target_id(m)


def _target_id(m: Migration) -> str:
    assert m.outputs.target is not None
    return m.outputs.target.resource_id


def find_lsn(m: Migration, observed: Observed) -> None:
    exact = replace(find_exact_lsn(m, observed), target_resource_id=_target_id(m))
    control.write(m.source, exact)
    control.write(m.the_target, exact)
    m.say(f"exact LSN {exact.value}, proved by {exact.proof.by}")


def refuse_other_lsn(m: Migration, observed: Observed) -> None:
    """Raise Refused if --lsn differs from the exact LSN that an earlier run has proved."""
    if m.options.lsn is None or not has_exact_lsn(m, observed):
        return
    recorded = _recorded(observed)
    if recorded.proof.holds(m.options.lsn):
        return
    raise Refused(
        f"--lsn {m.options.lsn} is refused: the exact LSN is {recorded.value}.",
        detail=f"An earlier replicate proved it. {bracket(recorded.proof)}. {UNCHANGED}",
        hint=line(Next.REPLICATE, m.outputs),
    )


def exact_lsn(observed: Observed) -> LSN:
    """The recorded exact LSN."""
    return _recorded(observed).value


def _recorded(observed: Observed) -> ExactLSN:
    found = observed.records.exact_lsn
    assert found is not None, "the step exact-lsn comes first"
    return found


# Subscriptions: no initial copy, disabled until the origin is set.


def has_subscriptions(m: Migration, observed: Observed) -> bool:
    return all(_forward(m, observed))


def make_subscriptions(m: Migration, observed: Observed) -> None:
    # One role has one password: a new one is set for all of them, existing ones included.
    password = replication_role.set_password(m.source)
    for database in observed.migrated:
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


def has_origins(m: Migration, observed: Observed) -> bool:
    lsn = exact_lsn(observed)
    return all(s is not None and s.origin_lsn is not None and s.origin_lsn >= lsn for s in _forward(m, observed))


def advance_origins(m: Migration, observed: Observed) -> None:
    lsn = exact_lsn(observed)
    for database, subscription in zip(observed.migrated, _forward(m, observed), strict=True):
        if subscription is None or subscription.origin_lsn is None or subscription.origin_lsn < lsn:
            subscriptions.advance_origin(m.the_target, database.name, m.names.slot(database.oid), lsn)


def is_enabled(m: Migration, observed: Observed) -> bool:
    return all(s is not None and s.enabled for s in _forward(m, observed))


def enable(m: Migration, observed: Observed) -> None:
    for database in observed.migrated:
        subscriptions.enable(m.the_target, database.name, m.names.slot(database.oid))


# Catch up: until a heartbeat committed now is visible on the target.


def catch_up(m: Migration, observed: Observed) -> None:
    beats: dict[str, int] = {}
    for database in observed.migrated:
        beats[database.name] = heartbeat.beat(m.source, database.name).n
    waiting, names = set(beats), [m.names.slot(d.oid) for d in observed.migrated]
    best, moved = -1, m.clock.monotonic()

    def seen() -> bool | None:
        nonlocal best, moved
        for name in sorted(waiting):
            n = heartbeat.read(m.the_target, name)
            if n is not None and n >= beats[name]:
                waiting.discard(name)
        if not waiting:
            return True
        position = _applied(m)
        if position > best:
            best, moved = position, m.clock.monotonic()
        elif m.clock.monotonic() - moved > STALL_SECONDS:
            raise Failed(
                f"Timed out after {STALL_SECONDS:.0f} s without progress of the apply workers on the target.",
                detail=f"Not caught up: {', '.join(sorted(waiting))}. {_workers(m)} The slots on the source keep what "
                "is missing. The target's server log has the apply worker's error (a table that differs, a lock, a "
                "trigger).",
                hint=line(Next.STATUS, m.outputs),
            )
        return None

    wait_until(
        seen,
        what="the target to catch up",
        seconds=float("inf"),
        every=0.1,
        reporter=m.reporter,
        clock=m.clock,
        progress=lambda: f"{slots.lag(m.source, names):,} bytes behind",
    )
    control.write(m.source, CaughtUp(beats))


def _applied(m: Migration) -> int:
    """Progress of the target's origins, summed over databases, in bytes."""
    query = "SELECT sum(pg_replication_origin_progress(roname, false) - '0/0') FROM pg_replication_origin"
    return int(m.the_target.value(query) or 0)


def _workers(m: Migration) -> str:
    try:
        listed = m.the_target.rows(
            None, "SELECT subname, apply_error_count FROM pg_stat_subscription_stats WHERE apply_error_count > 0"
        )
    except Failed:
        return ""
    return "Apply errors: " + ", ".join(f"{name}: {count}" for name, count in listed) if listed else ""


def undo_replication(m: Migration, observed: Observed) -> None:
    """Drop the target's subscriptions and slots, so that no worker takes a slot of the source. The copy stays."""
    if m.target is None or observed.target is None:
        return
    for name, subscription in observed.target.subscriptions.items():
        if name.startswith(m.names.publication):
            subscriptions.drop(m.target, subscription.database, name)
    for name in observed.target.slots:
        if name.startswith(m.names.publication):
            slots.drop(m.target, name, reporter=m.reporter, clock=m.clock, via="postgres")
