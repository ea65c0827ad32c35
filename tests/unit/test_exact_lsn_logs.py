"""Where the log is read: the RDS files in portions, then CloudWatch; and that a log out of reach is no failure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from encryptdb.controller.engines import Log
from encryptdb.controller.exact_lsn import server_log
from encryptdb.controller.exact_lsn.server_log import Found, Unavailable
from encryptdb.controller.record_values import Candidate
from encryptdb.stacks.cloud.client import NotFound
from encryptdb.stacks.contract.errors import Failed

CREATED = datetime(2024, 4, 27, 12, 0, tzinfo=UTC)
END = "0/20000110"
LOG = Log("orders-encrypted", CREATED, "/aws/rds/instance/orders-encrypted/postgresql")


def recovery(lsn: str, hour: int = 12) -> str:
    said = ["database system was interrupted; last known up at 2024-04-27 11:58:11 UTC",
            f"invalid record length at {lsn}: wanted 24, got 0", "redo done at 0/200000E0",
            "database system is ready to accept connections"]  # fmt: skip
    return "".join(f"2024-04-27 {hour:02}:00:05 UTC::@:[371]:LOG:  {text}\n" for text in said)


@dataclass
class Logs:
    """Log files by name, each (text, last written); log events; and what to raise instead."""

    files: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    events: list[str] | None = None
    refuses: Exception | None = None
    portion: int = 37
    read: list[str] = field(default_factory=list)

    def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        assert (service, operation) == ("rds", "download_db_log_file_portion")
        self.read.append(given["LogFileName"])
        text, start = self.files[given["LogFileName"]][0], int(given["Marker"])
        end = start + self.portion
        return {"LogFileData": text[start:end], "Marker": str(end), "AdditionalDataPending": end < len(text)}

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
        if operation == "describe_db_log_files":
            if self.refuses:
                raise self.refuses
            for name, (text, written) in self.files.items():
                yield {"LogFileName": name, "LastWritten": int(written.timestamp() * 1000), "Size": len(text)}
        elif self.events is None:
            raise NotFound("AWS knows no such thing.")
        else:
            assert given["logGroupName"] == "/aws/rds/instance/orders-encrypted/postgresql"
            yield from ({"message": text} for text in self.events)


def read(logs: Logs) -> list[Found]:
    return server_log.read(logs, LOG)  # type: ignore[arg-type]


def lsns(logs: Logs) -> list[str]:
    return [str(found.lsn) for found in read(logs) if isinstance(found, Candidate)]


def file(hour: int, text: str, written: int | None = None) -> dict[str, tuple[str, datetime]]:
    return {
        f"error/postgresql.log.2024-04-27-{hour:02}": (text, datetime(2024, 4, 27, written or hour, 30, tzinfo=UTC))
    }


def test_a_line_that_a_portion_cuts_in_two_is_one_line() -> None:
    for portion in (1, 2, 7, 37, 100_000):
        assert lsns(Logs(file(12, recovery(END)), portion=portion)) == [END, "0/200000E1"]


def test_files_of_the_source_are_not_even_read() -> None:
    logs = Logs({**file(9, recovery("0/66", 9)), **file(12, recovery(END))})
    assert lsns(logs)[0] == END
    assert set(logs.read) == {"error/postgresql.log.2024-04-27-12"}


def test_a_file_that_source_and_copy_both_wrote_counts_from_the_creation_on() -> None:
    both = file(11, recovery("0/66", 11) + recovery(END), written=12)
    assert lsns(Logs(both))[0] == END


def test_a_recovery_across_a_rotation_is_read_in_the_order_of_writing() -> None:
    text = recovery(END)
    first, second = text[: text.index("redo done") - 40], text[text.index("redo done") - 40 :]
    logs = Logs({**file(14, second), **file(13, first)})
    assert lsns(logs) == [END, "0/200000E1"]


def test_nothing_is_downloaded_behind_the_first_recovery() -> None:
    logs = Logs({**file(12, recovery(END) + "x" * 10_000), **file(13, recovery("0/77", 13))})
    assert lsns(logs)[0] == END
    assert len(logs.read) < 15
    assert set(logs.read) == {"error/postgresql.log.2024-04-27-12"}


def test_where_the_files_are_gone_cloudwatch_is_read() -> None:
    found = read(Logs(events=recovery(END).splitlines()))[0]
    assert isinstance(found, Candidate)
    assert str(found.lsn) == END
    assert found.detail.endswith("(in the log group /aws/rds/instance/orders-encrypted/postgresql)")


def test_a_log_out_of_reach_is_one_candidate_less_and_says_why() -> None:
    refused = Failed("AWS refused rds describe_db_log_files.", detail="AccessDenied: no")
    [found] = read(Logs(refuses=refused))
    assert isinstance(found, Unavailable)
    assert "AccessDenied" in found.reason
    assert "/aws/rds/instance/orders-encrypted/postgresql" in found.reason


def test_a_clean_start_is_a_recovery_without_an_lsn() -> None:
    text = "2024-04-27 12:00:05 UTC::@:[1]:LOG:  database system was shut down at 2024-04-27 11:59:00 UTC\n"
    [found] = read(Logs(file(12, text)))
    assert isinstance(found, Unavailable)
    assert "clean shutdown" in found.reason


def test_lsns_are_read_as_lsns() -> None:
    assert lsns(Logs(file(12, recovery("1/0A"))))[0] == "1/A"
