"""Clients that do not want to leave, all at once: nothing is committed on the source after its end markers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from encryptdb.controller.commands import cutover
from encryptdb.controller.migration import Moment
from encryptdb.controller.postgres import control
from tests.cutover.rig import World, watched
from tests.kit.servers import Server
from tests.kit.waits import wait_for
from tests.kit.writers import Writers, lost_and_repeated

AFTER_MARKER_SQL = """
-- Rows that were committed on this server later than its last end marker, whoever wrote them.
SELECT who, n FROM ledger WHERE pg_xact_commit_timestamp(xmin)
     > (SELECT pg_xact_commit_timestamp(xmin) FROM encryptdb.heartbeat)
"""

FEED_SQL = """
CREATE TABLE ledger (id bigint PRIMARY KEY, who text NOT NULL, n bigint NOT NULL);
CREATE PUBLICATION feed FOR TABLE ledger;
"""


def rogues(source: Server, superuser: bool) -> list[Writers]:
    """Ten kinds of clients. Each comes back as soon as it is thrown out."""
    late = "-c post_auth_delay=1"
    """Past the connection check, and not yet in pg_stat_activity, for a second."""
    return [
        Writers(source, 1, begin="BEGIN"),
        Writers(source, 1),
        Writers(source, 1, begin="BEGIN", options="-c default_transaction_read_only=off"),
        Writers(source, 1, reconnecting=True),
        Writers(source, 1, options=late),
        Writers(source, 1, user="app_owner"),
        Writers(source, 1, user="app_owner", begin="BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"),
        Writers(source, 1, user="app_owner", reconnecting=True),
        Writers(source, 1, user="app_owner", options=late),
        # Where the controller is no superuser, it may not end one's session, and aborts: another test shows that.
        Writers(source, 1, user="postgres" if superuser else 'odd "role', begin="BEGIN READ WRITE"),
    ]  # fmt: skip


@contextmanager
def own_subscription(world: World, publisher: Server) -> Iterator[Writers]:
    """The source's `app` follows another server: its background worker writes into the very table that is watched."""
    # Whoever is no superuser may only follow a server that asks for a password.
    trusting = (publisher.data / "pg_hba.conf").read_text()
    (publisher.data / "pg_hba.conf").write_text(f"host all feeder 127.0.0.1/32 scram-sha-256\n{trusting}")
    publisher.start()
    publisher.sql("CREATE ROLE feeder LOGIN REPLICATION PASSWORD 'fed'")
    publisher.sql("CREATE ROLE app LOGIN SUPERUSER")
    publisher.sql("CREATE DATABASE app")
    publisher.sql(FEED_SQL, database="app")
    # Ids of its own, which no identity column gives.
    publisher.sql("CREATE SEQUENCE below INCREMENT BY -1", database="app")
    publisher.sql("ALTER TABLE ledger ALTER id SET DEFAULT nextval('below')", database="app")
    conninfo = f"host=127.0.0.1 port={publisher.port} user=feeder password=fed dbname=app"
    since_16 = ", run_as_owner = true" if world.source.sql("SHOW server_version_num")[0][0] >= "160000" else ""
    world.source.sql(
        f"CREATE SUBSCRIPTION feed CONNECTION '{conninfo}' PUBLICATION feed WITH (copy_data = false{since_16})",
        database="app",
    )
    # Master's, as a subscription on RDS is: so the lasting fence alone would let its worker in.
    world.source.sql("GRANT CREATE ON DATABASE app TO master", database="app")
    world.source.sql("ALTER SUBSCRIPTION feed OWNER TO master", database="app")
    try:
        with Writers(publisher, 1) as writes:
            wait_for(lambda: fed(world.source) > 5, "the source's own subscription to apply")
            yield writes
    finally:
        publisher.stop("immediate")


def fed(server: Server) -> int:
    """Rows that came by the source's own subscription."""
    count: int = server.sql("SELECT count(*) FROM ledger WHERE id < -1", database="app")[0][0]
    return count


def test_nobody_of_any_kind_commits_after_the_end_markers(fresh: Callable[[], World], blank: Server) -> None:
    world = fresh()
    world.source.sql('GRANT ALL ON ALL TABLES IN SCHEMA public TO app_owner, "odd ""role"', database="app")
    superuser: bool = world.source.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'master'")[0][0]
    clients = rogues(world.source, superuser)

    def end_superusers(verb: str, moment: Moment) -> None:
        # The pause keeps them out, the lasting fence does not: on RDS only AWS has any.
        if (verb, moment) == ("open", "end"):
            for client in clients:
                if client.user == "postgres":
                    client.stop()

    publisher = blank.copy_of_files(world.source.data.parent / "publisher")
    with ExitStack() as ends, own_subscription(world, publisher) as upstream:
        for client in clients:
            client.start()
            ends.callback(client.stop)
        wait_for(lambda: all(c.acknowledged for c in clients), "every client to write")
        with world.migration(max_pause=30) as m:
            cutover.run(watched(m, end_superusers))
            # All go on trying against the lasting fence, until the rollback path has been seen to run.
            with Writers(world.target, 1) as after:
                pass
            wait_for(lambda: after.acknowledged <= set(world.rows(world.source)), "the rollback path to run")
            told = [detail for _, _, event, detail in control.journal(m.the_target) if "left disabled" in event]
        ends.close()
        assert upstream.acknowledged
    late = set(world.source.sql(AFTER_MARKER_SQL, database="app"))
    assert late == after.acknowledged, "nothing but what came by the rollback path"
    for client in clients:
        assert client.errors, "it was thrown out at least once"
        assert lost_and_repeated(world.rows(world.target), client) == ([], [])
    assert world.rows(world.target) == world.rows(world.source)
    assert told == [{"side": "source", "subscriptions": {"app": ["feed"]}}]


def test_a_subscription_of_the_source_runs_again_where_the_move_breaks_off(
    fresh: Callable[[], World], blank: Server
) -> None:
    world = fresh()

    def fail(verb: str, moment: Moment) -> None:
        if (verb, moment) == ("drain", "end"):
            assert world.source.sql("SELECT subenabled FROM pg_subscription WHERE subname = 'feed'") == [(False,)]
            raise KeyboardInterrupt

    publisher = blank.copy_of_files(world.source.data.parent / "publisher")
    with own_subscription(world, publisher):
        with world.migration() as m:
            try:
                cutover.run(watched(m, fail))
            except Exception as told:
                assert "The source serves again" in str(getattr(told, "detail", ""))
            found = control.records(m.source)
            assert found is not None and found.disabled_subscriptions is None
        before = fed(world.source)
        wait_for(lambda: fed(world.source) > before + 5, "the source's own subscription to apply again")
