"""The lasting fence: who passes, and that everything comes back as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from encryptdb.controller.observed_server import observe_server
from encryptdb.controller.postgres import connect_privileges, control, fence
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.server import Server as Side
from encryptdb.controller.waiting import SystemClock
from encryptdb.stacks.contract.errors import Failed
from tests.cutover.rig import DATABASES, PASSWORD, make_source
from tests.kit.servers import Server, place

ACL_SQL = """
SELECT d.datname, a.grantor::regrole::text, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
       a.privilege_type, a.is_grantable
  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
 WHERE d.datname = ANY (%s) ORDER BY 1, 2, 3, 4
"""
SETTINGS_SQL = "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting WHERE setdatabase <> 0 ORDER BY 1, 2"


@pytest.fixture(scope="module")
def server(blank: Server, room: Path) -> Iterator[Server]:
    made = make_source(blank, place(room, "lasting"))
    made.sql("CREATE ROLE encryptdb_replication LOGIN REPLICATION PASSWORD 'x'")
    yield made
    made.stop("immediate")


@pytest.fixture
def side(server: Server) -> Iterator[Side]:
    one = Side("source", "127.0.0.1", server.port, Login("master", Secret(PASSWORD), "the test"))
    control.create(one)
    yield one
    one.close()


def databases(side: Side) -> list[Any]:
    return [d for d in observe_server(side).databases if d.name in DATABASES]


def enters(server: Server, user: str, database: str = "app", **more: Any) -> bool:
    try:
        server.connect(database, user=user, **more).close()
    except psycopg.OperationalError:
        return False
    return True


def everything(server: Server) -> tuple[Any, ...]:
    return server.sql(ACL_SQL, [list(DATABASES)]), server.sql(SETTINGS_SQL)


def test_the_default_acl_and_every_odd_grant_come_back_as_they_were(server: Server, side: Side) -> None:
    second = sql.Identifier(DATABASES[1])
    with server.connect() as db:
        db.execute(sql.SQL('GRANT CONNECT ON DATABASE {} TO "odd ""role" WITH GRANT OPTION').format(second))
        db.execute('SET ROLE "odd ""role"')
        db.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO app").format(second))
        db.execute("RESET ROLE")
        db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(second))
        db.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = off").format(second))
        db.execute(sql.SQL("ALTER DATABASE {} SET work_mem = '5MB'").format(second))
        if db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'master'").fetchone() != (True,):
            # So that it may grant again in that role's name.
            db.execute('GRANT "odd ""role" TO master')
    assert server.sql("SELECT datacl FROM pg_database WHERE datname = 'app'") == [(None,)]
    before = everything(server)
    connect_privileges.close(side, databases(side), keep=["encryptdb_replication"])
    # Closing what is closed keeps the first record.
    connect_privileges.close(side, databases(side), keep=["encryptdb_replication"])
    assert connect_privileges.closed(side) == set(DATABASES)
    assert everything(server) != before
    connect_privileges.reopen(side, databases(side))
    assert everything(server) == before
    assert connect_privileges.closed(side) == set()
    # Opening what is open changes nothing.
    connect_privileges.reopen(side, databases(side))
    assert everything(server) == before


def test_only_those_let_in_enter_and_sessions_start_read_only(server: Server, side: Side) -> None:
    connect_privileges.close(side, databases(side), keep=["encryptdb_replication"])
    try:
        assert not enters(server, "app")
        assert not enters(server, "app_owner"), "the owner's own privilege is taken as well"
        assert enters(server, "encryptdb_replication", password="x")
        assert enters(server, "master", password=PASSWORD)
        with server.connect("app", user="encryptdb_replication", password="x") as db:
            assert db.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    finally:
        connect_privileges.reopen(side, databases(side))
    assert enters(server, "app") and enters(server, "app_owner")


def test_who_was_inside_is_sent_away(server: Server, side: Side) -> None:
    with server.connect("app", user="app") as inside:
        connect_privileges.close(side, databases(side), keep=[])
        fence.empty(side, databases(side), slots=[], seconds=10, clock=SystemClock())
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
    connect_privileges.reopen(side, databases(side))


def test_roles_that_inherit_from_one_let_in_are_named(server: Server, side: Side) -> None:
    assert connect_privileges.still_enter(side, databases(side), keep=["encryptdb_replication"]) == []
    server.sql("GRANT encryptdb_replication TO app")
    found = connect_privileges.still_enter(side, databases(side), keep=["encryptdb_replication"])
    server.sql("REVOKE encryptdb_replication FROM app")
    assert found == [(name, "app") for name in sorted(DATABASES)]


def test_a_database_that_is_not_ours_to_close_is_named(server: Server, side: Side) -> None:
    if server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'master'") == [(True,)]:
        # A superuser may do all of it; nothing is left to refuse.
        connect_privileges.close(side, databases(side), keep=[])
        connect_privileges.reopen(side, databases(side))
        return
    server.sql("REVOKE app_owner FROM master")
    before = everything(server)
    try:
        with pytest.raises(Failed, match="The role 'master' lacks a privilege on the source") as told:
            connect_privileges.close(side, databases(side), keep=[])
        assert "must be owner of database" in str(told.value.detail) or "permission denied" in str(told.value.detail)
    finally:
        server.sql("GRANT app_owner TO master")
    assert everything(server) == before
    assert connect_privileges.closed(side) == set()
