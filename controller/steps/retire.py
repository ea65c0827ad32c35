"""Retire: drop everything on both servers. The decision is recorded first, so that an interrupted run can be
completed."""

from collections.abc import Mapping

from psycopg import sql

from encryptdb.controller import report
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import Database, ObservedServer
from encryptdb.controller.postgres import control, heartbeat, replication_role, slots, subscriptions
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.records import Retired
from encryptdb.controller.state import Standing, State
from encryptdb.controller.steps.step import observed_target
from encryptdb.stacks.cloud import prepared_parameter
from encryptdb.stacks.contract.names import Ending

# The decision, with the evidence, which lives in the databases that go.


def is_recorded(m: Migration, observed: Observed) -> bool:
    kept = observed.target.records if observed.target else None
    return observed.ending is Ending.RETIRED and (kept is None or kept.retired is not None)


def record(m: Migration, observed: Observed) -> None:
    if (kept := observed_target(observed).records) is not None and kept.retired is None:
        evidence = report.collect(m, observed, Standing(State.RETIRED, "target"))
        control.write(m.the_target, Retired(observed.at, m.approved_by, evidence))
    m.engine.tag_ending(_target(m), Ending.RETIRED)


def write_report(m: Migration, observed: Observed) -> None:
    kept = observed.target.records if observed.target else None
    if kept is not None and kept.retired is not None:
        report.write(m, kept.retired.evidence)


# The subscribers go first, so that no slot is in use.


def has_no_subscriptions(m: Migration, observed: Observed) -> bool:
    return not any(_ours(m, side.subscriptions) for side in observed.sides)


def drop_subscriptions(m: Migration, observed: Observed) -> None:
    for server, side in ((m.source, observed.source), (m.target, observed.target)):
        if server is not None and side is not None:
            for name in _ours(m, side.subscriptions):
                subscriptions.drop(server, side.subscriptions[name].database, name)


def is_source_clean(m: Migration, observed: Observed) -> bool:
    return observed.source is None or is_clean(m, observed.source)


def clean_source(m: Migration, observed: Observed) -> None:
    assert observed.source is not None
    clean(m, m.source, observed.source, observed.migrated_on(observed.source))


def has_no_parameter(m: Migration, observed: Observed) -> bool:
    return observed.prepared_parameter is None


def delete_parameter(m: Migration, observed: Observed) -> None:
    prepared_parameter.delete(m.aws, m.outputs.stack)


def is_target_clean(m: Migration, observed: Observed) -> bool:
    return is_clean(m, observed_target(observed))


def clean_target(m: Migration, observed: Observed) -> None:
    clean(m, m.the_target, observed_target(observed), observed.migrated_on(observed_target(observed)))


def is_clean(m: Migration, side: ObservedServer) -> bool:
    return side.records is None and not side.replication_role and not _ours(m, side.slots)


def clean(m: Migration, server: Server, side: ObservedServer, databases: tuple[Database, ...]) -> None:
    """Drop slots, publication, heartbeat, role and control database of one server, in that order: until the last one
    goes, the records there tell what is left to do."""
    for name in _ours(m, side.slots):
        slots.drop(server, name, reporter=m.reporter, clock=m.clock, via="postgres")
    for database in databases:
        if not database.allow_connections:
            # Closed for good (rollbackWindow: none).
            continue
        server.execute("SET default_transaction_read_only = off", database=database.name)
        drop = sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(m.names.publication))
        server.execute(drop, database=database.name)
        heartbeat.drop(server, database.name)
    replication_role.drop(server)
    control.drop(server)


def _target(m: Migration) -> str:
    assert m.outputs.target is not None
    return m.outputs.target.identifier


def _ours(m: Migration, found: Mapping[str, object]) -> list[str]:
    return [name for name in found if name.startswith(m.names.publication)]
