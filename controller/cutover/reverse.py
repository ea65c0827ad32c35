"""The rollback path: changes made on the side that is opened follow to the side that was left.

Its slot is made before the pause, because making one waits for every running transaction; so it also sees what the
forward subscription applied. It must not send that back: after the drain its origin is set to the end of WAL of the
arriving side, made durable by a synchronous commit, and everything before that is skipped.
"""

from encryptdb.controller.cutover import foreign
from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import replication_role, slots, subscriptions
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import at_once
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.contract.errors import Refused

SLOT_SECONDS = 60.0
"""Making the slot waits for transactions that run on the arriving side: only apply workers run there."""

PUBLISHED_SQL = "SELECT FROM pg_publication WHERE pubname = %s AND puballtables"

DURABLE_END_SQL = """
-- Commits something that waits for the disk: everything that was committed before is below the position it gives, and
-- nothing that is committed from now on.
BEGIN; SET LOCAL synchronous_commit = on; SELECT txid_current(); COMMIT; SELECT pg_current_wal_flush_lsn()
"""


def prepare(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Make slots on `to` and disabled subscriptions on `from_`, anew. Before the pause."""
    drop(direction, reporter=reporter, clock=clock)
    # What lets the rollback path run after OPEN may let these run as well.
    foreign.silence(direction, reporter)
    for database in direction.databases:
        if direction.to.row(PUBLISHED_SQL, [direction.publication], database=database.name) is None:
            raise Refused(
                f"Database {database.name!r} on the {direction.to.side} has lost the publication"
                f" {direction.publication}.",
                detail="Without it there is no rollback path.",
                hint=f"CREATE PUBLICATION {direction.publication} FOR ALL TABLES; there, then run the command again.",
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
    """Set every reverse origin to the end of `to`'s WAL. After the drain, with the forward workers gone."""
    foreign.refuse_enabled(direction)
    with direction.to.translated(CONTROL_DATABASE):
        *_, flushed = at_once(direction.to.db(), DURABLE_END_SQL)
    end: LSN = flushed[0][0]
    direction.in_each(lambda d: subscriptions.advance_origin(direction.from_, d.name, direction.back(d.oid), end))
    return end


def enable(direction: Direction) -> None:
    """Let the rollback path run. Once connections to `from_` are allowed again, for the apply workers."""
    for database in direction.databases:
        subscriptions.enable(direction.from_, database.name, direction.back(database.oid))


def drop(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Take down the rollback path, where there is one: subscriptions on `from_`, slots on `to`. Those of others, which
    were disabled for it, run again."""
    foreign.let_go(direction)
    for database in direction.databases:
        subscriptions.drop(direction.from_, database.name, direction.back(database.oid))
    for database in direction.databases:
        slots.drop(direction.to, direction.back(database.oid), reporter=reporter, clock=clock)


def drop_forward(direction: Direction, *, reporter: Reporter, clock: Clock) -> None:
    """Take down the direction that has done its work: a slot that nobody reads would keep WAL for ever."""
    for database in direction.databases:
        subscriptions.drop(direction.to, database.name, direction.forward(database.oid))
    for database in direction.databases:
        slots.drop(direction.from_, direction.forward(database.oid), reporter=reporter, clock=clock)
    foreign.leave_behind(direction, reporter)
