"""The end of the plan: the cutover as a step, and taking everything down after it."""

from psycopg import sql

from controller import control, mark, replication_role, subscriptions
from controller.migration import Migration
from controller.names import SCHEMA
from controller.observe import Database, ServerState, State
from controller.server import Server
from controller.station import station
from controller.steps.slots import drop_slot


def is_cut_over(m: Migration, state: State) -> bool:
    return "cutover" in state.records or station(m, state) == "retired"


def cut_over(m: Migration, state: State) -> None:
    from controller.commands import cutover

    cutover.run(m)


def undo_preparations(m: Migration, state: State) -> None:
    """What a cutover makes on the source before its pause: the subscriptions of the way back."""
    if state.source is not None:
        _drop_subscriptions(m, m.source, state.source)


def is_retired(m: Migration, state: State) -> bool:
    return station(m, state) == "retired"


def retire(m: Migration, state: State) -> None:
    """Drop everything of ours on both servers. The subscribers go first, so that no slot is in use; the target's
    control database goes last, because until then it decides."""
    if state.source is not None:
        _drop_subscriptions(m, m.source, state.source)
    assert state.target is not None, "retire is for what has been opened"
    _drop_subscriptions(m, m.the_target, state.target)
    if state.source is not None and state.source.records is not None:
        take_down(m, m.source, state.source, state.migrated)
    mark.delete(m)
    take_down(m, m.the_target, state.target, state.migrated)


def _drop_subscriptions(m: Migration, server: Server, observed: ServerState) -> None:
    for name, subscription in observed.subscriptions.items():
        if name.startswith(m.names.publication):
            subscriptions.drop(server, subscription.database, name)


def take_down(m: Migration, server: Server, observed: ServerState, databases: tuple[Database, ...]) -> None:
    """Drop slots, publication, heartbeat, role and control database of one server, in that order."""
    for name in observed.slots:
        if name.startswith(m.names.publication):
            drop_slot(m, name, server)
    for database in databases:
        here = observed.database(database.name)
        if here is None or not here.allow_connections:
            # Closed for good (rollbackWindow: none). Nobody can get in, and neither can we.
            continue
        with server.translated(database.name):
            db = server.db(database.name)
            db.execute("SET default_transaction_read_only = off")
            db.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(m.names.publication)))
            db.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))
    replication_role.drop(server)
    control.drop(server)
