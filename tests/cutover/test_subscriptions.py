"""Subscriptions: their password is in no log and no view, and their origin is set once."""

import pytest

from encryptdb.controller.postgres import replication_role, slots, subscriptions
from encryptdb.controller.postgres.login import Secret
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.stacks.contract.errors import Failed
from tests.cutover.rig import DATABASES, World

LOUD = """
ALTER SYSTEM SET log_statement = 'all';
ALTER SYSTEM SET log_min_duration_statement = 0;
ALTER SYSTEM SET log_min_messages = 'debug1';
ALTER SYSTEM SET log_error_verbosity = 'verbose';
SELECT pg_reload_conf();
"""


@pytest.fixture
def loud(world: World) -> None:
    """Both servers log all that they can."""
    for server in (world.source, world.target):
        for statement in LOUD.strip().splitlines():
            server.sql(statement)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.usefixtures("loud")
def test_no_password_in_any_log_whether_it_succeeds_or_fails(world: World, database: str) -> None:
    with world.migration() as m:
        password = replication_role.set_password(m.the_target)
        world.target.sql("SELECT pg_create_logical_replication_slot('test_slot', 'pgoutput')", database=database)
        common = {"slot": "test_slot", "publication": m.names.publication, "publisher": m.the_target}
        with pytest.raises(Failed, match="source"):
            # Refused by the publisher.
            subscriptions.create(
                m.source, database, name="odd %s name", password=Secret("wrong-and-secret-too"), **common
            )
        subscriptions.create(m.source, database, name="odd %s name", password=password, **common)
        # Pointed to the publisher anew, as a second run does.
        subscriptions.create(m.source, database, name="odd %s name", password=password, **common)
        conninfo = world.source.sql("SELECT subconninfo FROM pg_subscription WHERE subname = 'odd %s name'")
        subscriptions.drop(m.source, database, "odd %s name")
        slots.drop(m.the_target, "test_slot", reporter=m.reporter, clock=m.clock)
    assert password.reveal() in conninfo[0][0]
    for server in (world.source, world.target):
        log = server.log_text()
        for secret in (password.reveal(), "wrong-and-secret-too", conninfo[0][0].encode().hex()):
            assert secret not in log
    assert "odd %%s name" in world.source.log_text(), "the statement itself was logged"


def test_the_origin_is_set_once_and_only_while_it_is_disabled(world: World) -> None:
    with world.migration() as m:
        (oid, name) = world.source.sql("SELECT oid::bigint, datname FROM pg_database WHERE datname = 'app'")[0]
        running = m.names.slot(oid)
        with pytest.raises(Failed, match="is enabled"):
            subscriptions.advance_origin(m.the_target, name, running, LSN.parse("0/1"))
        password = replication_role.set_password(m.the_target)
        world.target.sql("SELECT pg_create_logical_replication_slot('once', 'pgoutput')", database=name)
        subscriptions.create(
            m.source, name, name="once", slot="once", publication=m.names.publication, publisher=m.the_target,
            password=password,
        )  # fmt: skip
        subscriptions.advance_origin(m.source, name, "once", LSN.parse("0/ABCDEF"))
        with pytest.raises(Failed, match="already at 0/ABCDEF"):
            subscriptions.advance_origin(m.source, name, "once", LSN.parse("0/ABCDEF"))
        # On disk: a crash does not take it back.
        world.source.stop("immediate")
        world.source.start()
        m.close()
        with pytest.raises(Failed, match="already at 0/ABCDEF"):
            subscriptions.advance_origin(m.source, name, "once", LSN.parse("0/ABCDEF"))
        subscriptions.drop(m.source, name, "once")
        slots.drop(m.the_target, "once", reporter=m.reporter, clock=m.clock)
