"""The proof at the end: each check looks at the servers and the clients' own records, never at what a tool reported."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from demo import sequences, storage, tables
from demo.ledger import Acknowledged, amount, one_line
from demo.pgbench import Run
from demo.postgres import Connection, Login, one


@dataclass(frozen=True)
class Check:
    """One claim and whether it holds. `holds` is None where this machine could not examine it; `found` says what was
    looked at, and what is wrong where it does not hold."""

    claim: str
    holds: bool | None
    found: str


def check(claim: str, found: str, wrong: Iterable[str]) -> Check:
    """A check that holds if nothing is `wrong`."""
    problems = list(wrong)
    if not problems:
        return Check(claim, True, found)
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return Check(claim, False, "; ".join(problems[:5]) + more)


def every_write_once(database: str, acknowledged: Sequence[Acknowledged], target: Connection) -> Check:
    """Whether the target holds what the clients were told is committed: each once, and nothing else."""
    entries = Counter[tuple[int, int]](target.execute("SELECT client, seq FROM ledger.entry").fetchall())
    tally = Counter[tuple[int, int]](target.execute("SELECT client, seq FROM ledger.tally").fetchall())
    rows = target.execute("SELECT client, commits, total FROM ledger.balance").fetchall()
    balances = {client: (commits, total) for client, commits, total in rows}
    return check(
        f"{database}: every acknowledged write is on the target exactly once",
        f"{len(acknowledged)} commits by {len({a.client for a in acknowledged})} clients, "
        f"{sum(a.asked for a in acknowledged)} of them found by asking after a connection broke",
        ledger_problems(acknowledged, entries, tally, balances),
    )


def ledger_problems(
    acknowledged: Sequence[Acknowledged],
    entries: Counter[tuple[int, int]],
    tally: Counter[tuple[int, int]],
    balances: Mapping[int, tuple[int, int]],
) -> Iterable[str]:
    """Where the clients' records and a database disagree, a sentence each."""
    told = {(a.client, a.seq) for a in acknowledged}
    if not told:
        yield "no commit was acknowledged at all"
    for table, rows in (("ledger.entry", entries), ("ledger.tally", tally)):
        for client, seq in sorted(told - rows.keys()):
            yield f"lost: transaction {seq} of client {client} is not in {table}"
        for client, seq in sorted(rows.keys() - told):
            yield f"not acknowledged: transaction {seq} of client {client} is in {table}"
        for (client, seq), times in sorted(rows.items()):
            if times > 1:
                yield f"repeated: transaction {seq} of client {client} is {times} times in {table}"
    for client in sorted({client for client, _ in told}):
        seqs = [seq for c, seq in told if c == client]
        expected = (len(seqs), sum(amount(client, seq) for seq in seqs))
        if balances.get(client) != expected:
            yield f"client {client} has (commits, total) {balances.get(client)} instead of {expected}"


def pgbench_adds_up(runs: Sequence[Run], target: Connection) -> Check:
    """Whether pgbench's balances and history agree with each other and with what pgbench counted."""
    accounts, tellers, branches, history, rows = one(
        target,
        'SELECT (SELECT sum(balance) FROM "Bench".accounts), (SELECT sum(balance) FROM "Bench".tellers),'
        ' (SELECT sum(balance) FROM "Bench".branches), (SELECT coalesce(sum(delta), 0) FROM "Bench".history),'
        ' (SELECT count(*) FROM "Bench".history)',
    )
    wrong = one(
        target,
        'SELECT count(*) FROM "Bench".accounts a LEFT JOIN'
        ' (SELECT aid, sum(delta) AS delta FROM "Bench".history GROUP BY aid) h USING (aid)'
        " WHERE balance <> coalesce(delta, 0)",
    )[0]
    processed, lost = sum(run.processed for run in runs), sum(run.lost for run in runs)

    def problems() -> Iterable[str]:
        if not processed:
            yield "pgbench processed nothing"
        if not accounts == tellers == branches == history:
            yield f"the sums differ: accounts {accounts}, tellers {tellers}, branches {branches}, history {history}"
        if wrong:
            yield f"{wrong} accounts do not have the sum of their history"
        if not processed <= rows <= processed + lost:
            yield f"pgbench counted {processed} commits (and {lost} that it could not know of), the history has {rows}"

    return check(
        "orders: pgbench's books balance",
        f"{processed} transactions in {len(runs)} runs; accounts, tellers, branches and history agree",
        problems(),
    )


def tables_equal(database: str, source: Connection, target: Connection, since: datetime) -> Check:
    """Whether both sides are equal to the row, but for what was written on the target since the opening."""
    compared = tables.compare(source, target, since)
    differing = [f"{c.table}: {c.source} on the source, {c.target} on the target" for c in compared if not c.equal]
    rows, aside = sum(c.target.rows for c in compared if c.target), sum(c.set_aside for c in compared)
    return check(
        f"{database}: the digests of all tables are equal",
        f"{len(compared)} tables, {rows} rows; {aside} rows written since the opening are set aside",
        differing if compared else ["there are no tables"],
    )


def sequences_ahead(database: str, source: Connection, target: Connection) -> Check:
    """Whether every sequence of the target is past the values in use, and not behind the source's."""
    here, there = sequences.positions(target), sequences.positions(source)
    wrong = list(sequences.behind(there, here)) if there else ["there are no sequences"]
    return check(f"{database}: sequences are ahead of every used value", f"{len(here)} sequences", wrong)


def source_refuses(attempts: Sequence[tuple[str, Login, str]]) -> Check:
    """Whether the source refuses writes. Each attempt is (database, login, an INSERT)."""
    refused, wrong = list[str](), list[str]()
    for database, login, statement in attempts:
        try:
            with login.connect(database) as connection:
                connection.execute("BEGIN READ WRITE")
                connection.execute(statement.encode())
                connection.execute("COMMIT")
            wrong.append(f"{login.user} could write to {database}")
        except psycopg.Error as error:
            reason = one_line(error).split("FATAL:")[-1].split("DETAIL:")[0].strip()
            (refused if _is_refusal(error) else wrong).append(f"{login.user} in {database}: {reason}")
    return check("the source refuses writes", "; ".join(refused), wrong)


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether the server refused because of the fence: one that is down, or a wrong password, refuses nothing."""
    refusals = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
    # libpq tells no SQLSTATE of an attempt to connect.
    fatal = ("permission denied for database", "is not currently accepting connections")
    return isinstance(error, refusals) or any(text in str(error) for text in fatal)


def marker_encrypted(marker: str, source: Path | None, ciphertext: Path | None, target: Path | None) -> Check:
    """Whether the marker can be read in the source's storage and not in the target's.

    `ciphertext` is what lies on the target's disk, None where the lab has no encrypted filesystem; `target` is the
    same through the mount, where the marker must be, or the search would prove nothing."""
    claim = "the marker is readable in the source's storage and not in the target's"
    if ciphertext is None or source is None:
        return Check(claim, None, "left out: the lab keeps no encrypted filesystem on this machine")
    plain, hidden = storage.files_with(source, marker.encode()), storage.files_with(ciphertext, marker.encode())
    mounted = storage.files_with(target, marker.encode()) if target else []

    def problems() -> Iterable[str]:
        if not plain:
            yield "it is not in the source's storage, so this search proves nothing"
        if not mounted:
            yield "it is not in the target's mounted storage, so this search proves nothing"
        if hidden:
            yield f"it is in {len(hidden)} files of the target's ciphertext, one is {hidden[0]}"

    found = f"{len(plain)} files of the source hold it, {len(mounted)} of the mounted target, none of its ciphertext"
    return check(claim, found, problems())


def writers_unharmed(trouble: Sequence[str], waited: float, pause: float, held_back: bool) -> Check:
    """Whether nothing went wrong for a writer during the cutover. `waited` is the longest wait of a writer around it,
    `pause` what the controller reports, both in seconds; they are shown beside each other. Where nothing held the
    writers back, that their transactions are cut off is no fault."""
    claim = "no transaction failed during the cutover"
    waits = (
        f"the longest wait of a writer was {waited * 1000:.0f} ms, "
        f"the controller reports a pause of {pause * 1000:.0f} ms"
    )
    if not held_back:
        return Check(claim, None, f"left out: there is no pooler; {len(trouble)} were cut off and done again; {waits}")
    return check(claim, waits, trouble)


def tell(checks: Sequence[Check], say: Callable[[str], None]) -> None:
    """Tell each check: what is claimed, whether it holds, what was found."""
    for c in checks:
        say(f"{'left out' if c.holds is None else 'ok' if c.holds else 'FAILED':>8}  {c.claim}")
        say(f"          {c.found}")
