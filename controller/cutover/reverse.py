"""The way back: changes made on the side that is opened follow to the side that was left.

Its slot is made before the pause, because making one waits for every running transaction; so it also sees what the
forward subscription applied. It must not send that back: after the drain its origin is set to the end of WAL of the
arriving side, made durable by a synchronous commit, and everything before that is skipped.
"""

from controller import replication_role, subscriptions
from controller.cutover import foreign
from controller.cutover.way import Way, synchronous_lsn
from controller.errors import Refused
from controller.lsn import LSN
from controller.names import CONTROL_DATABASE
from controller.waiting import Clock, Reporter

SLOT_SECONDS = 60.0
"""Making the slot waits for transactions that run on the arriving side: only apply workers run there."""


def prepare(way: Way, *, reporter: Reporter, clock: Clock) -> None:
    """Make slots on `to` and disabled subscriptions on `from_`, anew. Before the pause."""
    drop(way, reporter=reporter, clock=clock)
    # What lets the way back run after OPEN may let these run as well.
    foreign.silence(way, reporter)
    for database in way.databases:
        with way.to.translated(database.name):
            connection = way.to.db(database.name)
            if not connection.execute(
                "SELECT 1 FROM pg_publication WHERE pubname = %s AND puballtables", [way.publication]
            ).fetchone():
                raise Refused(
                    f"Database {database.name!r} on the {way.to.side} has lost the publication {way.publication}.",
                    detail="Without it there is no way back.",
                    hint=f"CREATE PUBLICATION {way.publication} FOR ALL TABLES; there, then run the command again.",
                )
    password = replication_role.set_password(way.to)
    for database in way.databases:
        slot = way.back(database.oid)
        with way.to.translated(database.name):
            maker = way.to.connect(database.name, statement_seconds=SLOT_SECONDS)
            with maker:
                maker.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
        subscriptions.create(
            way.from_,
            database.name,
            name=slot,
            slot=slot,
            publication=way.publication,
            publisher=way.to,
            password=password,
        )


def advance(way: Way) -> LSN:
    """Set every reverse origin to the end of `to`'s WAL. After the drain, with the forward workers gone."""
    foreign.refuse_enabled(way)
    with way.to.translated(CONTROL_DATABASE):
        end = synchronous_lsn(way.to.db())
    way.in_each(lambda d: subscriptions.advance_origin(way.from_, d.name, way.back(d.oid), end))
    return end


def enable(way: Way) -> None:
    """Let the way back run. Once connections to `from_` are allowed again, for the apply workers."""
    for database in way.databases:
        subscriptions.enable(way.from_, database.name, way.back(database.oid))


def drop(way: Way, *, reporter: Reporter, clock: Clock) -> None:
    """Take down the way back, where there is one: subscriptions on `from_`, slots on `to`. Those of others, which
    were disabled for it, run again."""
    foreign.let_go(way)
    for database in way.databases:
        subscriptions.drop(way.from_, database.name, way.back(database.oid))
    for database in way.databases:
        subscriptions.drop_slot(way.to, way.back(database.oid), reporter=reporter, clock=clock)


def drop_forward(way: Way, *, reporter: Reporter, clock: Clock) -> None:
    """Take down the direction that has done its work: a slot that nobody reads would keep WAL for ever."""
    for database in way.databases:
        subscriptions.drop(way.to, database.name, way.forward(database.oid))
    for database in way.databases:
        subscriptions.drop_slot(way.from_, way.forward(database.oid), reporter=reporter, clock=clock)
    foreign.leave_behind(way, reporter)
