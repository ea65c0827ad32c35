"""What must hold before the pause. Every check runs; then the gravest finding is raised, with the others in its detail.

Not yet (status 3): time or another command resolves it. Refused (status 4): rows would be lost or applied twice, or the
move could not be undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from encryptdb.controller.cutover import definitions, large_objects, markers
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.observed_server import ObservedServer
from encryptdb.controller.postgres import connect_privileges
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.preflight.checks.roles import missing_for_fence
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Refused

LONG_SQL = """
-- Transactions that have been running for more than a second: the fence ends them.
SELECT format('pid %%s of %%s in %%s, running for %%s s', pid, usename, datname,
              extract(epoch FROM clock_timestamp() - xact_start)::int)
  FROM pg_stat_activity
 WHERE datid = ANY (%s) AND xact_start < clock_timestamp() - interval '1 s' AND backend_type = 'client backend'
   AND pid <> ALL (%s)
 ORDER BY xact_start LIMIT 10
"""


SETTLE_SECONDS = 10.0
"""An apply worker is restarted after wal_retrieve_retry_interval (default 5 s)."""


@dataclass(frozen=True)
class Finding:
    """One reason not to begin."""

    kind: Literal["not yet", "refused"]
    message: str
    detail: str
    hint: str


def check(
    direction: Direction, leaving: ObservedServer, arriving: ObservedServer, *, rollback_path: bool
) -> large_objects.Counts:
    """Raise Refused or NotYet with every finding. Returns the counts of writes to large objects on `from_`, read just
    before they were compared."""
    found = [
        *_states(direction, leaving, arriving),
        *_prepared(direction, leaving),
        *_rights(direction, direction.from_, leaving),
        *_rights(direction, direction.to, arriving),
        *(_leaks(direction) if rollback_path else ()),
    ]
    counts: large_objects.Counts = {}
    # Contents can only be read if the databases exist on both sides.
    if not found:
        counts = large_objects.written(direction.from_, direction)
        found += [*_definitions(direction), *_large_objects(direction)]
    if not found:
        return counts
    gravest = sorted(found, key=lambda f: f.kind != "refused")[0]
    others = [f"{f.message} {f.detail}" for f in found if f is not gravest]
    raise (Refused if gravest.kind == "refused" else NotYet)(
        gravest.message,
        detail=gravest.detail + (f" Also: {' '.join(others)}" if others else ""),
        hint=gravest.hint,
    )


def _states(direction: Direction, leaving: ObservedServer, arriving: ObservedServer) -> Iterator[Finding]:
    """From what was observed. Pure."""
    yield from _replication(direction, leaving, arriving)
    new = leaving.unlisted({d.oid: d.name for d in direction.databases})
    if new:
        yield Finding(
            "refused",
            f"The {direction.from_.side} has databases that would not be migrated.",
            f"Created or renamed since the snapshot: {', '.join(sorted(d.name for d in new))}.",
            f"Drop them, or begin a new attempt: {direction.next_attempt}",
        )
    closed = arriving.records.closed if arriving.records else set()
    open_ = [d.name for d in direction.databases if d.name not in closed]
    if open_ and not any(f.kind == "not yet" for f in _replication(direction, leaving, arriving)):
        yield Finding(
            "refused",
            f"The {direction.to.side} is not closed to applications.",
            f"Applications may be writing in: {', '.join(open_)}.",
            direction.follow,
        )


def _replication(direction: Direction, leaving: ObservedServer, arriving: ObservedServer) -> Iterator[Finding]:
    if leaving.settings["wal_level"] != "logical":
        yield Finding(
            "refused",
            f"Logical replication was turned off on the {direction.from_.side}.",
            f"wal_level is {leaving.settings['wal_level']}. Changes may be missing.",
            direction.next_attempt,
        )
    for database in direction.databases:
        name = direction.forward(database.oid)
        slot, subscription = leaving.slots.get(name), arriving.subscriptions.get(name)
        if subscription is None or not subscription.enabled:
            yield Finding(
                "not yet",
                f"Database {database.name!r} is not replicated.",
                f"The subscription {name} on the {direction.to.side} is {'disabled' if subscription else 'missing'}.",
                direction.follow,
            )
        elif leaving.slot_lost(name):
            yield Finding(
                "refused",
                f"The slot of database {database.name!r} is lost.",
                f"{name} on the {direction.from_.side} is {'invalidated' if slot else 'missing'}: changes are missing.",
                direction.next_attempt,
            )


def _prepared(direction: Direction, leaving: ObservedServer) -> Iterator[Finding]:
    names = {d.name for d in direction.databases}
    found = [str(t) for t in leaving.prepared_transactions if t.database in names]
    if found:
        yield Finding(
            "refused",
            f"The {direction.from_.side} has prepared transactions.",
            f"{'; '.join(found)}. Replication does not carry them until they are committed.",
            f"COMMIT PREPARED or ROLLBACK PREPARED them, then: {AGAIN}",
        )


def _rights(direction: Direction, server: Server, observed: ObservedServer) -> Iterator[Finding]:
    oids = {d.oid for d in direction.databases}
    with server.translated(CONTROL_DATABASE):
        missing = missing_for_fence(server.db(), [d for d in observed.databases if d.oid in oids])
    if missing:
        user = server.login.user
        yield Finding(
            "refused",
            f"The role {user!r} may not fence the {server.side}.",
            f"It is not a member of: {', '.join(missing)}.",
            f"On the {server.side}, for each: GRANT role TO {user}.",
        )


def _leaks(direction: Direction) -> Iterator[Finding]:
    roles = connect_privileges.still_enter(direction.from_, direction.databases, keep=direction.keep)
    if roles:
        yield Finding(
            "refused",
            f"The {direction.from_.side} could not be kept closed after the {direction.name}.",
            "These roles inherit from one that replication or the controller needs: "
            + ", ".join(sorted({role for _, role in roles})) + ".",
            "REVOKE that membership from them, or give the controller a role of its own.",
        )  # fmt: skip


def _definitions(direction: Direction) -> Iterator[Finding]:
    differ = definitions.differences(direction)
    if differ:
        yield Finding(
            "refused",
            f"The {'tables' if direction.name == 'cutover' else 'definitions'} of source and target differ.",
            f"{'; '.join(differ[:20])}{f' and {len(differ) - 20} more' if len(differ) > 20 else ''}. Definitions are "
            "not replicated, and rows of a table that only one side has are skipped without an error.",
            f"If no row was written to it yet, make the same change on the {direction.to.side}. Otherwise "
            + (
                f"begin a new attempt, and change no schema until the cutover is done: {direction.next_attempt}"
                if direction.name == "cutover"
                else "rollback would lose data."
            ),
        )


def _large_objects(direction: Direction) -> Iterator[Finding]:
    differ = large_objects.differences(direction)
    if differ:
        yield Finding(
            "refused",
            "The large objects of source and target differ, or cannot be compared.",
            f"{'; '.join(differ)}. Large objects are not replicated: writes to them since the snapshot are on the "
            f"{direction.from_.side} only.",
            (
                f"To compare their contents, {direction.from_.login.user} must be a member of their owners. If they "
                f"changed, stop what writes them, then begin a new attempt: {direction.next_attempt}"
                if direction.name == "cutover"
                else f"Copy the changes to the {direction.to.side} (lo_export, lo_import), then: {AGAIN}"
            ),
        )


def rehearse(direction: Direction, arriving: ObservedServer, *, max_pause: float, clock: Clock) -> dict[str, float]:
    """Send a marker without a fence; milliseconds for its commit and for its arrival.

    Apply workers get time to start. Raises NotYet if a marker takes more than half of the longest pause."""
    workers = [arriving.subscriptions[direction.forward(d.oid)].worker_pid for d in direction.databases]
    if None in workers:
        _send(direction, max(max_pause / 2, SETTLE_SECONDS), clock)
    return _send(direction, max_pause / 2, clock)


def _send(direction: Direction, seconds: float, clock: Clock) -> dict[str, float]:
    began = clock.monotonic()
    marks = markers.commit(direction)
    marked = clock.monotonic()
    try:
        markers.drain(direction, marks, seconds=seconds, clock=clock)
    except Failed as problem:
        raise NotYet(
            f"The {direction.to.side} has not caught up.",
            detail=f"A change made just now did not arrive within {seconds:g} s. {problem.detail}",
            hint=direction.follow if direction.name == "cutover" else AGAIN,
        ) from None
    return {"end markers": round(1000 * (marked - began), 1), "drain": round(1000 * (clock.monotonic() - marked), 1)}


def name_long_transactions(direction: Direction, reporter: Reporter) -> None:
    """Report the transactions that the fence will end."""
    ours = [*direction.from_.pids(), 0]
    for (words,) in direction.from_.rows(None, LONG_SQL, [[d.oid for d in direction.databases], ours]):
        reporter.say(f"the fence will end a transaction: {words}")
