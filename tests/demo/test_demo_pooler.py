"""PgBouncer and pgbench as the demo sets them up."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import commands, pgbench
from demo.load import BILLING, DATABASES, ORDERS
from demo.pgbench import Pgbench, Transaction
from demo.pooler import Pooler, configuration, find_pgbouncer
from demo.postgres import Login, one
from tests.demo.demo_server import Server


@pytest.fixture
def pooler(server: Server) -> Iterator[Pooler]:
    program = find_pgbouncer()
    assert program is not None, "pgbouncer is not installed: apt install pgbouncer"
    # Not pytest's own directory: the user that PgBouncer runs as cannot go there.
    directory = Path(tempfile.mkdtemp(prefix="encryptdb-test-"))
    directory.chmod(0o755)
    loaded = server.loaded
    made = Pooler(program, directory / "pooler", server.master, DATABASES, loaded.app, loaded.app_verifier)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


def test_applications_reach_both_databases_through_it(pooler: Pooler) -> None:
    for pooled, database in DATABASES.items():
        with pooler.login.connect(pooled) as connection:
            assert one(connection, "SELECT current_database(), current_user") == (database, "app")


def test_its_switch_is_what_the_stack_config_says_and_holds_no_secret(pooler: Pooler, server: Server) -> None:
    switch = pooler.switch()
    assert switch["kind"] == "pgbouncer"
    assert switch["databases"] == {"orders": ORDERS, "billing": BILLING}
    assert Path(switch["configFile"]).is_file()
    assert switch["admin"] == f"postgresql://pooler_admin@127.0.0.1:{pooler.login.port}/pgbouncer"
    text = json.dumps(switch) + pooler.config_file.read_text()
    for secret in (pooler.admin.password, pooler.login.password, server.master.password + "@"):
        assert secret not in text


def test_its_secrets_are_for_the_pooler_alone_and_no_passwords(pooler: Pooler, server: Server) -> None:
    userlist = pooler.directory / "userlist.txt"
    assert userlist.stat().st_mode & 0o777 == 0o600
    assert server.loaded.app.password not in userlist.read_text()


def test_a_quoted_name_survives_the_configuration() -> None:
    server = Login("127.0.0.9", 5432, "m", "", "/ca.pem")
    text = configuration({"it": 'It\'s "quoted"'}, server, 6432, Path("/d"))
    assert "it = host=127.0.0.9 port=5432 dbname='It''s \"quoted\"'\n" in text
    assert "server_tls_sslmode = verify-full\n" in text


def test_pgbench_writes_through_it_and_its_figures_are_exact(server: Server, pooler: Pooler, tmp_path: Path) -> None:
    bench = Pgbench(server.bin / "pgbench", pooler.login, "orders", tmp_path / "pgbench")
    with server.loaded.app.connect(ORDERS) as connection:
        before = one(connection, 'SELECT count(*) FROM "Bench".history')[0]
        bench.start()
        bench.stop()
        after = one(connection, 'SELECT count(*) FROM "Bench".history')[0]
    assert bench.broken is None
    assert sum(run.processed for run in bench.runs) == after - before > 0
    assert len(bench.transactions()) == after - before
    assert bench.trouble(bench.runs[0].began, bench.runs[0].ended) == []


def test_pgbench_that_cannot_run_says_so(tmp_path: Path) -> None:
    bench = Pgbench(tmp_path / "none", Login("127.0.0.1", 1, "a", "b"), "orders", tmp_path / "pgbench")
    bench.start()
    bench.stop()
    assert bench.trouble(0, 1) == [f"{tmp_path}/none: No such file or directory"]


SUMMARY = """\
pgbench: error: client 2 script 0 aborted in command 5 query 0: FATAL:  terminating connection
pgbench: error: client 0 aborted in command 5 (SQL) of script 0; perhaps the backend died while processing
number of transactions actually processed: 245
number of failed transactions: 3 (1.212%)
"""


def test_what_pgbench_prints_is_read() -> None:
    assert pgbench.read_summary(SUMMARY) == (245, 3, 2)
    assert pgbench.read_summary("pgbench: error: connection to server failed") == (0, 0, 0)


def test_what_pgbench_logs_is_read() -> None:
    lines = ["0 1 25000 0 1700000000 500000 100", "0 2 failed 0 1700000001 0 0", "1 3 2"]
    assert list(pgbench.read_log(lines)) == [Transaction(1700000000.5, 0.025)]


def test_a_sourceable_file_is_read_as_a_shell_does(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# of the lab\nexport A='it is' B=2\nC=\"x y\"\n\nunset D\n")
    assert commands.read_environment(file) == {"A": "it is", "B": "2", "C": "x y"}
