"""The ledger clients: what they write down is what is committed, also when connections break under them."""

import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from demo import proof, workload
from demo.ledger import Acknowledged, Client, Clients, amount, longest_wait
from demo.load import BILLING, ORDERS
from demo.postgres import Connection
from tests.demo.demo_server import Server


def commits(*pairs: tuple[int, float]) -> list[Acknowledged]:
    return [Acknowledged(client, number, at) for number, (client, at) in enumerate(pairs, 1)]


def test_the_longest_wait_is_of_one_client_and_touches_the_given_time() -> None:
    told = commits((1, 0.0), (1, 5.0), (2, 5.1), (1, 5.2), (2, 5.9), (1, 6.0), (1, 20.0))
    assert longest_wait(told, begin=5.1, end=5.95) == pytest.approx(0.8)


def test_a_wait_that_began_before_the_given_time_counts() -> None:
    assert longest_wait(commits((1, 0.0), (1, 9.0)), begin=8.0, end=8.5) == 9.0


def a_client(server: Server, database: str, number: int, directory: Path, work: workload.Workload) -> Client:
    file = directory / f"{number}.acknowledged"
    return Client(
        database, number, lambda: server.loaded.app.connect(database), work, file, workload.Removing(), pace=0.001
    )


def run(clients: Clients, seqs: int) -> None:
    clients.start()
    deadline = time.monotonic() + 30
    while any(len(clients.acknowledged(c.database)) < seqs for c in clients.clients):
        assert time.monotonic() < deadline, "the clients get nowhere"
        time.sleep(0.01)
    clients.stop()


def reset(server: Server, database: str) -> None:
    with server.loaded.app.connect(database) as connection:
        connection.execute("TRUNCATE ledger.entry, ledger.tally; UPDATE ledger.balance SET commits = 0, total = 0")


@pytest.fixture
def orders(server: Server) -> Server:
    reset(server, ORDERS)
    return server


@pytest.mark.parametrize(("database", "work"), [(ORDERS, workload.orders), (BILLING, workload.billing)])
def test_what_is_acknowledged_is_what_is_committed(
    server: Server, tmp_path: Path, database: str, work: workload.Workload
) -> None:
    reset(server, database)
    clients = Clients([a_client(server, database, number, tmp_path, work) for number in (1, 2, 3)])
    run(clients, 150)
    with server.loaded.app.connect(database) as connection:
        checked = proof.every_write_once(database, clients.acknowledged(database), connection)
    assert checked.holds, checked.found
    assert clients.failures() == []


def test_a_commit_whose_acknowledgement_was_lost_is_found_by_asking(orders: Server, tmp_path: Path) -> None:
    def commit_and_lose_the_answer(connection: Connection, client: int, random: object, may_remove: bool) -> None:
        if lost:
            return
        lost.append(True)
        connection.execute("COMMIT")
        raise psycopg.OperationalError("the network ate the answer")

    lost: list[bool] = []
    clients = Clients([a_client(orders, ORDERS, 1, tmp_path, commit_and_lose_the_answer)])
    run(clients, 3)
    told = clients.acknowledged(ORDERS)
    assert [(a.seq, a.asked) for a in told[:3]] == [(1, True), (2, False), (3, False)]
    with orders.loaded.app.connect(ORDERS) as connection:
        assert proof.every_write_once(ORDERS, told, connection).holds


def test_a_transaction_that_was_cut_off_before_its_commit_is_done_again_once(orders: Server, tmp_path: Path) -> None:
    def break_once(connection: Connection, client: int, random: object, may_remove: bool) -> None:
        if not broken:
            broken.append(True)
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    broken: list[bool] = []
    clients = Clients([a_client(orders, ORDERS, 1, tmp_path, break_once)])
    run(clients, 3)
    told = clients.acknowledged(ORDERS)
    assert [(a.seq, a.asked) for a in told[:2]] == [(1, False), (2, False)]
    assert [(f.seq, f.began) for f in clients.failures()] == [(1, True)]
    with orders.loaded.app.connect(ORDERS) as connection:
        assert proof.every_write_once(ORDERS, told, connection).holds


TOLD = [Acknowledged(1, 1, 0.0), Acknowledged(1, 2, 1.0), Acknowledged(2, 1, 0.5)]
ROWS = Counter({(1, 1): 1, (1, 2): 1, (2, 1): 1})
BALANCES = {1: (2, amount(1, 1) + amount(1, 2)), 2: (1, amount(2, 1))}


def test_the_ledger_agrees() -> None:
    assert list(proof.ledger_problems(TOLD, ROWS, ROWS, BALANCES)) == []


@pytest.mark.parametrize(
    ("entries", "tally", "balances", "problem"),
    [
        (ROWS - Counter({(1, 2): 1}), ROWS, BALANCES, "lost: transaction 2 of client 1 is not in ledger.entry"),
        (ROWS, ROWS + Counter({(2, 1): 1}), BALANCES, "repeated: transaction 1 of client 2 is 2 times in ledger.tally"),
        (ROWS + Counter({(2, 2): 1}), ROWS, BALANCES, "not acknowledged: transaction 2 of client 2 is in ledger.entry"),
        (ROWS, ROWS, {**BALANCES, 2: (2, 7)}, f"client 2 has (commits, total) (2, 7) instead of {BALANCES[2]}"),
        (ROWS, ROWS, {1: BALANCES[1]}, f"client 2 has (commits, total) None instead of {BALANCES[2]}"),
    ],
)
def test_the_ledger_disagrees(
    entries: Counter[tuple[int, int]],
    tally: Counter[tuple[int, int]],
    balances: dict[int, tuple[int, int]],
    problem: str,
) -> None:
    assert list(proof.ledger_problems(TOLD, entries, tally, balances)) == [problem]


def test_a_ledger_in_which_nothing_was_written_proves_nothing() -> None:
    assert list(proof.ledger_problems([], Counter(), Counter(), {})) == ["no commit was acknowledged at all"]
