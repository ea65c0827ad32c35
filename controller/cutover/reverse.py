"""The rollback path: replication from the side that is opened to the side that was left.

Its slot is created before the pause, because that waits for running transactions, so it also decodes what the forward
subscription applied. To skip that, its origin is set after the drain to the end of WAL of `to`, made durable by a
synchronous commit.
"""

from encryptdb.controller.cutover import foreign
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import replication_role, slots, subscriptions
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import at_once
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import AGAIN, Refused

SLOT_SECONDS = 60.0
"""Creating the slot waits for running transactions; only apply workers run on `to`."""

PUBLISHED_SQL = "SELECT FROM pg_publication WHERE pubname = %s AND puballtables"

DURABLE_END_SQL = """
-- Commits something that waits for the disk: everything that was committed before is below the position it gives, and
-- nothing that is committed from now on.
BEGIN; SET LOCAL synchronous_commit = on; SELECT txid_current(); COMMIT; SELECT pg_current_wal_flush_lsn()
"""


def prepare(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Create slots on `to` and disabled subscriptions on `from_`, after dropping old ones. Before the pause."""
    drop(direction, reporter=reporter, clock=clock)
    # The lasting fence may let these run, as it does the rollback path.
    foreign.disable(direction, reporter)
    for database in direction.databases:
        if direction.to.row(PUBLISHED_SQL, [direction.publication], database=database.name) is None:
            raise Refused(
                f"Database {database.name!r} on the {direction.to.side} has no publication {direction.publication}.",
                detail="The rollback path needs it.",
                hint=f"There: CREATE PUBLICATION {direction.publication} FOR ALL TABLES; then: {AGAIN}",
            )
    password = replication_role.set_password(direction.to)
    for database in direction.databases:
        slot = direction.back(database.oid)
        slots.create(direction.to, database.name, slot, seconds=SLOT_SECONDS, reporter=reporter, clock=clock)
        subscriptions.create(
            direction.from_,
            database.name,
            name=slot,
            slot=slot,
            publication=direction.publication,
            publisher=direction.to,
            password=password,
        )


def advance(direction: Direction) -> LSN:
    """Set every reverse origin to the end of `to`'s WAL. After the drain, once the forward workers have ended."""
    foreign.refuse_enabled(direction)
    with direction.to.translated(CONTROL_DATABASE):
        *_, flushed = at_once(direction.to.db(), DURABLE_END_SQL)
    end: LSN = flushed[0][0]
    direction.in_each(lambda d: subscriptions.advance_origin(direction.from_, d.name, direction.back(d.oid), end))
    return end


def enable(direction: Direction) -> None:
    """Enable the rollback path, once apply workers may connect to `from_`."""
    for database in direction.databases:
        subscriptions.enable(direction.from_, database.name, direction.back(database.oid))


def drop(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Drop the rollback path, if it exists: subscriptions on `from_`, slots on `to`. Enable the foreign subscriptions
    that were disabled for it."""
    foreign.enable_again(direction)
    for database in direction.databases:
        subscriptions.drop(direction.from_, database.name, direction.back(database.oid))
    for database in direction.databases:
        slots.drop(direction.to, direction.back(database.oid), reporter=reporter, clock=clock)


def drop_forward(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Drop the forward direction: an unused slot would retain WAL."""
    for database in direction.databases:
        subscriptions.drop(direction.to, database.name, direction.forward(database.oid))
    for database in direction.databases:
        slots.drop(direction.from_, direction.forward(database.oid), reporter=reporter, clock=clock)
    foreign.leave_behind(direction, reporter)
