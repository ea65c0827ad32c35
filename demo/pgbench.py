"""pgbench as a second writer, one that knows nothing of ledgers: TPC-B over tables with keys, run after run."""

import re
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from demo.postgres import Login

SCRIPT = Path(__file__).parent / "sql" / "tpcb.pgbench"
CLIENTS = 4
RATE = 60
"""Transactions a second, over all clients: a steady load that leaves a small machine room for the migration."""
RUN = 4
"""Seconds a run: a session lost ends a pgbench client for good, so runs are short and begin anew."""


@dataclass(frozen=True)
class Run:
    """What one run of pgbench said. `began` and `ended` are time.time() seconds; `lost` counts its clients that lost
    their connection, each perhaps after its last commit was done but before it heard of it."""

    began: float
    ended: float
    processed: int
    failed: int
    lost: int


@dataclass(frozen=True)
class Transaction:
    """One transaction of pgbench's log: when it ended (time.time() seconds) and how long it took (seconds)."""

    ended: float
    seconds: float


def read_summary(output: str) -> tuple[int, int, int]:
    """Processed, failed and lost (see Run), from what pgbench prints. No figures: nothing was processed."""

    def figure(pattern: str) -> int:
        found = re.search(pattern, output)
        return int(found.group(1)) if found else 0

    return (
        figure(r"number of transactions actually processed: (\d+)"),
        figure(r"number of failed transactions: (\d+)"),
        len(set(re.findall(r"client (\d+) (?:script \d+ )?aborted", output))),
    )


def read_log(lines: Iterable[str]) -> Iterable[Transaction]:
    """The transactions of a pgbench per-transaction log; a line that was cut off is left out."""
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[2].isdigit():
            yield Transaction(int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1e6)


class Pgbench:
    """Runs of pgbench through the pooler until stopped."""

    def __init__(self, program: Path, pooler: Login, database: str, directory: Path) -> None:
        self._program, self._pooler, self._database, self._directory = program, pooler, database, directory
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pgbench", daemon=True)
        self._process: subprocess.Popen[str] | None = None
        self.runs: list[Run] = []
        self.broken: str | None = None
        """Why there is no load any more, if pgbench itself cannot be run."""
        directory.mkdir(mode=0o700)
        # By file, because an argument or a variable would be seen in the process list.
        self._passwords = directory / "pgpass"
        self._passwords.touch(mode=0o600)
        password = pooler.password.replace("\\", "\\\\").replace(":", "\\:")
        self._passwords.write_text(f"{pooler.host}:{pooler.port}:*:{pooler.user}:{password}\n")

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Let the run that is under way come to its end, because only then its figures are exact.
        Raises TimeoutError if it does not."""
        self._stopping.set()
        self._thread.join(RUN + 30)
        if self._thread.is_alive():
            self.kill()
            raise TimeoutError(f"pgbench did not come to the end of a run of {RUN} s within {RUN + 30} s")

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
        if self._thread.is_alive():
            self._thread.join(10)

    def transactions(self) -> list[Transaction]:
        """All transactions of the logs."""
        found: list[Transaction] = []
        for file in sorted(self._directory.glob("run-*")):
            with file.open(encoding="utf-8") as lines:
                found += read_log(lines)
        return found

    def trouble(self, begin: float, end: float) -> list[str]:
        """What went wrong in the runs that touch the time from `begin` to `end` (time.time() seconds)."""
        touching = [run for run in self.runs if run.began <= end and run.ended >= begin]
        bad = [run for run in touching if run.failed or run.lost]
        wrong = [f"pgbench: {run.failed} transactions failed, {run.lost} of {CLIENTS} clients lost" for run in bad]
        if self.broken:
            wrong.append(self.broken)
        elif not any(run.processed for run in touching):
            wrong.append("pgbench processed nothing")
        return wrong

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            began = time.time()
            try:
                output = self._once(number)
            except OSError as error:
                self.broken = f"{self._program}: {error.strerror}"
                return
            self.runs.append(Run(began, time.time(), *read_summary(output)))
            if self.runs[-1].processed == 0:
                self._stopping.wait(0.3)

    def _once(self, number: int) -> str:
        command = [
            *(str(self._program), "--no-vacuum", f"--file={SCRIPT}", f"--client={CLIENTS}", "--jobs=1"),
            *(f"--time={RUN}", f"--rate={RATE}", "--log", f"--log-prefix={self._directory}/run-{number:04}"),
            *("-h", self._pooler.host, "-p", str(self._pooler.port), "-U", self._pooler.user, self._database),
        ]
        environment = {"PGPASSFILE": str(self._passwords), "PGSSLMODE": "disable", "LC_ALL": "C"}
        self._process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the demo to act on; pgbench is told by it.
            start_new_session=True,
        )
        return self._process.communicate()[0]
