"""A copy whose WAL ends at a chosen byte: every way in which recovery can end, met for real.

Freeze the source at t0, let it write on, give the frozen files the WAL written since, and cut that. The cut never lies
before the end of WAL at t0: data files may hold what was flushed up to there, and a state with pages newer than its WAL
cannot happen.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from encryptdb.controller.exact_lsn.slot_stream import Begin, Commit, Keepalive, stream
from encryptdb.controller.postgres.lsn import LSN
from tests.kit.servers import Server, run
from tests.kit.waits import wait_for
from tests.postgres.log_api import LogApi
from tests.postgres.rig import Load, Pair, isolate, prepare

PAGE_BYTES = 8192

SEGMENT_BYTES = 1 << 20
"""The smallest that initdb knows: segment borders are met often, and copying is cheap."""

MANY_SUBTRANSACTIONS_SQL = """
-- Commits with a record of some 900 bytes, of which one in ten is torn by the border of a page.
DO $$
DECLARE unlike_any_other int := (pg_current_xact_id()::text::bigint % 2000000) * 1000;
BEGIN
    INSERT INTO ledger (who, note) VALUES (90, 'subtransactions');
    FOR i IN 1..200 LOOP
        BEGIN INSERT INTO bag VALUES (90, unlike_any_other + i); EXCEPTION WHEN others THEN NULL; END;
    END LOOP;
END $$
"""

SPILLING = {"logical_decoding_work_mem": "64kB"}
"""Large transactions spill, as they do on a busy source."""

Rest = Literal["zeros", "recycled", "missing"]
"""What stands behind the cut: a new segment's zeros, an older segment's records, or nothing where a segment begins."""


class Stoppable(Protocol):
    """A load that writes until it is stopped."""

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Sent:
    """Everything that the busy database's slot sends, and the xids of all transactions in the source's ledger."""

    begins: list[Begin]
    commits: list[Commit]
    writing: set[int]


def xids(server: Server) -> set[int]:
    """The transactions whose row is there: every one of the load leaves its xid in the ledger."""
    return {xid for (xid,) in server.sql("SELECT DISTINCT xid FROM ledger", database="app")}


@dataclass
class Quarry:
    """A source that has written on since its files were frozen. `low` and `high` are where a cut may lie."""

    source: Server
    frozen: Server
    wal: Path
    low: LSN
    high: LSN
    room: Path

    @contextmanager
    def cut(self, at: LSN, rest: Rest = "zeros") -> Iterator[Pair]:
        """The source and a running, isolated copy whose WAL ended at `at`."""
        copy = self.frozen.copy_of_files(self.room / f"cut-{at.bytes}-{rest}")
        try:
            self._cut_wal(copy.data / "pg_wal", at, rest)
            copy.start()
            isolate(copy)
            yield Pair(self.source, copy, LogApi(copy))
        finally:
            copy.stop("immediate")
            shutil.rmtree(copy.data)
            copy.log.unlink(missing_ok=True)

    def sent(self) -> Sent:
        """Read the slot once, up to the last cut that can be made."""
        begins, commits = [], []
        with self.cut(self.high) as pair, pair.migration() as (m, state):
            slot = next(m.names.slot(d.oid) for d in state.migrated if d.name == "app")
            with stream(
                m.source, "app", slot, m.names.publication, LSN(0), clock=m.clock, reporter=m.reporter
            ) as messages:
                for message in messages:
                    match message:
                        case Begin():
                            begins.append(message)
                        case Commit():
                            commits.append(message)
                        case Keepalive() if message.sent >= self.high:
                            break
        return Sent(begins, commits, xids(self.source))

    def commits(self) -> list[tuple[LSN, int]]:
        """Commit records between low and high: start, and length in bytes, by pg_waldump."""
        span = ("-s", str(self.low), "-e", str(self.high))
        told = run(self.source.bin / "pg_waldump", "-p", self.wal, "-r", "Transaction", *span)
        found = []
        for line in told.splitlines():
            if "desc: COMMIT" in line:
                length = line.split("len (rec/tot):")[1].split(",")[0].split("/")[1]
                found.append((LSN.parse(line.split("lsn: ")[1].split(",")[0]), int(length)))
        return found

    def previous(self, record: LSN) -> tuple[LSN, bool]:
        """The record before this one, and whether it is a commit."""
        told = run(self.source.bin / "pg_waldump", "-p", self.wal, "-s", str(record), "-n", "1")
        before = LSN.parse(told.split("prev ")[1].split(",")[0])
        return before, "desc: COMMIT" in run(
            self.source.bin / "pg_waldump", "-p", self.wal, "-s", str(before), "-n", "1"
        )

    def _cut_wal(self, pg_wal: Path, at: LSN, rest: Rest) -> None:
        last, offset = divmod(at.bytes, SEGMENT_BYTES)
        segments = sorted(p for p in self.wal.iterdir() if len(p.name) == 24)
        for path in [p for p in pg_wal.iterdir() if len(p.name) == 24]:
            path.unlink()
        for path in segments:
            number = _number(path)
            if number < last or (number == last and not (rest == "missing" and offset == 0)):
                shutil.copy2(path, pg_wal / path.name)
                shutil.chown(pg_wal / path.name, pg_wal.owner())
        final = pg_wal / next(p.name for p in segments if _number(p) == last)
        if final.exists():
            behind = bytes(SEGMENT_BYTES) if rest != "recycled" else segments[0].read_bytes()
            final.write_bytes(final.read_bytes()[:offset] + behind[offset:])


def _number(path: Path) -> int:
    """Which segment since the beginning of WAL: the name is timeline, high half, and the place within it."""
    return int(path.name[8:16], 16) * ((1 << 32) // SEGMENT_BYTES) + int(path.name[16:], 16)


def _commit_in_pairs(source: Server, count: int) -> None:
    """Small commits, each with a large one right behind it, unless another client's record comes in between."""
    with source.connect("app") as small, source.connect("app") as large:
        for n in range(count):
            small.execute("BEGIN")
            small.execute("INSERT INTO ledger (who, note) VALUES (91, %s)", [str(n)])
            large.execute("BEGIN")
            large.execute(MANY_SUBTRANSACTIONS_SQL)
            small.execute("COMMIT")
            large.execute("COMMIT")


@contextmanager
def quarry(
    bin_folder: Path, room: Path, name: str, begin: Callable[[Server], Stoppable] = Load, segments: int = 3
) -> Iterator[Quarry]:
    """Prepare a source under load, freeze it, let it write on for some segments, and keep the WAL it wrote."""
    source = Server(bin_folder, room / f"{name}-source").create("--wal-segsize", "1")
    load = None
    try:
        source.start(full_page_writes="on", checkpoint_timeout="1h", wal_keep_size="1GB", **SPILLING)
        prepare(source)
        load = begin(source)
        frozen = source.freeze_copy(room / f"{name}-frozen")
        low = LSN.parse(source.sql("SELECT pg_current_wal_insert_lsn()::text")[0][0])
        _commit_in_pairs(source, 100)
        wait_for(
            lambda: LSN.parse(source.sql("SELECT pg_current_wal_lsn()::text")[0][0]) - low > segments * SEGMENT_BYTES,
            f"the load to fill {segments} segments",
        )
        load.stop()
        high = LSN.parse(source.sql("SELECT pg_current_wal_flush_lsn()::text")[0][0])
        wal = room / f"{name}-wal"
        with source.frozen():
            shutil.copytree(source.data / "pg_wal", wal)
        for path in [wal, *wal.rglob("*")]:
            shutil.chown(path, source.data.owner())
        yield Quarry(source, frozen, wal, low, high, room)
    finally:
        if load is not None:
            load.stop()
        source.stop("immediate")
