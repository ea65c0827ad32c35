"""The end of the plan: the cutover as a step, and taking everything down after it."""

from psycopg import sql

from encryptdb.controller import prepared_parameter
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Database, Observed, ObservedServer
from encryptdb.controller.postgres import control, replication_role, subscriptions
from encryptdb.controller.postgres.object_names import SCHEMA
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.state import state
from encryptdb.controller.steps.slots import drop_slot


def is_cut_over(m: Migration, observed: Observed) -> bool:
    return observed.records.cutover is not None or state(m, observed) == "retired"


def cut_over(m: Migration, observed: Observed) -> None:
    from encryptdb.controller.commands import cutover

    cutover.run(m)


def undo_preparations(m: Migration, observed: Observed) -> None:
    """What a cutover makes on the source before its pause: the subscriptions of the rollback path."""
    if observed.source is not None:
        _drop_subscriptions(m, m.source, observed.source)


def is_retired(m: Migration, observed: Observed) -> bool:
    return state(m, observed) == "retired"


def retire(m: Migration, observed: Observed) -> None:
    """Drop everything of ours on both servers. The subscribers go first, so that no slot is in use; the target's
    control database goes last, because until then it decides."""
    if observed.source is not None:
        _drop_subscriptions(m, m.source, observed.source)
    assert observed.target is not None, "retire is for what has been opened"
    _drop_subscriptions(m, m.the_target, observed.target)
    if observed.source is not None and observed.source.records is not None:
        take_down(m, m.source, observed.source, observed.migrated)
    prepared_parameter.delete(m)
    take_down(m, m.the_target, observed.target, observed.migrated)


def _drop_subscriptions(m: Migration, server: Server, observed: ObservedServer) -> None:
    for name, subscription in observed.subscriptions.items():
        if name.startswith(m.names.publication):
            subscriptions.drop(server, subscription.database, name)


def take_down(m: Migration, server: Server, observed: ObservedServer, databases: tuple[Database, ...]) -> None:
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
