"""Every message with which recovery ends, in PostgreSQL 13 to 18 (and 19's padded LSNs), and which start counts."""

from datetime import UTC, datetime

import pytest

from encryptdb.controller.exact_lsn.server_log import (
    KINDS,
    Means,
    Unavailable,
    candidates,
    first_recovery,
    read_line,
    time_of,
)
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.record_values import Candidate, Validity

END = LSN.parse("0/20000110")

ENDS = [
    "invalid record length at 0/20000110: wanted 24, got 0",
    "invalid record length at 0/20000110: expected at least 24, got 0",
    "record length 4294967295 at 0/20000110 too long",
    "invalid record offset at 0/20000110",
    "invalid record offset at 0/20000110: expected at least 24, got 8",
    "contrecord is requested by 0/20000110",
    "there is no contrecord flag at 0/20000110",
    "invalid contrecord length 12 at 0/20000110",
    "invalid contrecord length 12 (expected 40) at 0/20000110",
    "record with incorrect prev-link 0/1FFFFF00 at 0/20000110",
    "incorrect resource manager data checksum in record at 0/20000110",
    "invalid resource manager ID 47 at 0/20000110",
]

PAGES = [
    "unexpected pageaddr 0/1C000000 in log segment 000000010000000000000020, offset 0",
    "unexpected pageaddr 0/1C000000 in WAL segment 000000010000000000000020, LSN 0/20000000, offset 0",
    "invalid magic number 0000 in log segment 000000010000000000000020, offset 8192",
    "invalid magic number 0000 in WAL segment 000000010000000000000020, LSN 0/20002000, offset 8192",
    "invalid info bits 0000 in WAL segment 000000010000000000000020, LSN 0/20002000, offset 8192",
    "out-of-sequence timeline ID 1 (after 2) in log segment 000000010000000000000020, offset 8192",
    "out-of-sequence timeline ID 1 (after 2) in WAL segment 000000010000000000000020, LSN 0/20002000, offset 8192",
]

PREFIXES = [
    "2024-04-27 12:00:05 UTC::@:[371]:LOG:  ",
    "2024-04-27 12:00:05.123 UTC [371] LOG:  ",
    "1714219205.123 [371] LOG:  ",
    '2024-04-27 12:00:05.123 UTC,,,371,,662cea85.173,4,,2024-04-27 12:00:00 UTC,,0,LOG,00000,"',
    '{"timestamp":"2024-04-27 12:00:05.123 UTC","pid":371,"error_severity":"LOG","message":"',
]


def log(*messages: str, at: str = "2024-04-27 12:00:05", severity: str = "LOG") -> list[str]:
    return [f"{at} UTC::@:[371]:{severity}:  {message}" for message in messages]


INTERRUPTED = "database system was interrupted; last known up at 2024-04-27 11:58:11 UTC"
READY = "database system is ready to accept connections"


@pytest.mark.parametrize("message", ENDS)
def test_a_message_that_names_the_missing_record_names_the_end(message: str) -> None:
    line = read_line(message)
    assert line is not None
    assert (line.lsn, line.kind.means) == (END, Means.NEXT_RECORD)


@pytest.mark.parametrize("message", PAGES)
def test_a_message_that_names_a_page_is_no_candidate(message: str) -> None:
    line = read_line(message)
    assert line is not None
    assert line.kind.means is Means.PAGE
    assert [type(found) for found in candidates((line,), "the log")] == [Unavailable]


def test_every_kind_is_met_by_a_message_of_this_test() -> None:
    others = [REDO, CHECKPOINT]
    met = {line.kind.name for text in [*ENDS, *PAGES, *others] if (line := read_line(text)) is not None}
    assert met == {kind.name for kind in KINDS}


REDO = "redo done at 0/200000E0 system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.02 s"
CHECKPOINT = (
    "checkpoint complete: wrote 44 buffers (0.3%), wrote 3 SLRU buffers; 0 WAL file(s) added, 0 removed, 0 recycled; "
    "write=0.003 s, sync=0.001 s, total=0.010 s; sync files=20, longest=0.001 s, average=0.001 s; distance=91 kB, "
    "estimate=91 kB; lsn=0/20000188, redo lsn=0/20000110"
)


def test_redo_done_is_a_candidate_with_one_byte_more() -> None:
    for text in (REDO, "redo done at 0/200000E0"):
        line = read_line(text)
        assert line is not None
        [found] = candidates((line,), "the log")
        assert isinstance(found, Candidate)
        assert (found.lsn, found.valid) == (LSN.parse("0/200000E1"), Validity.ALWAYS)


def test_the_checkpoint_after_recovery_is_not_always_valid() -> None:
    line = read_line(CHECKPOINT)
    assert line is not None
    [found] = candidates((line,), "the log")
    assert isinstance(found, Candidate)
    assert (found.lsn, found.valid) == (END, Validity.UNLESS_TORN)


def test_the_padded_lsns_of_19_are_the_same_lsns() -> None:
    line = read_line("invalid record length at 1/0001F2A8: expected at least 24, got 0")
    assert line is not None
    assert line.lsn == LSN.parse("1/1F2A8")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_message_is_found_behind_every_prefix(prefix: str) -> None:
    found = first_recovery(prefix + text for text in (INTERRUPTED, "redo starts at 0/1F000028", ENDS[0], REDO, READY))
    assert found is not None
    assert [line.lsn for line in found.lines] == [END, LSN.parse("0/200000E0")]
    assert not found.clean


def test_only_the_first_recovery_counts() -> None:
    later = log(INTERRUPTED, "invalid record length at 0/30000000: wanted 24, got 0", READY)
    found = first_recovery([*log(INTERRUPTED, ENDS[0], READY), *later])
    assert found is not None
    assert [line.lsn for line in found.lines] == [END]


def test_a_recovery_that_was_cut_off_is_the_same_one_begun_again() -> None:
    again = "database system was interrupted while in recovery at 2024-04-27 12:00:04 UTC"
    found = first_recovery(log(INTERRUPTED, "redo starts at 0/1F000028", again, ENDS[0], REDO, READY))
    assert found is not None
    assert [line.lsn for line in found.lines] == [END, LSN.parse("0/200000E0")]


def test_lines_of_the_source_that_came_along_on_the_volume_do_not_count() -> None:
    theirs = log(INTERRUPTED, "invalid record length at 0/100: wanted 24, got 0", READY, at="2024-04-27 09:00:00")
    created = datetime(2024, 4, 27, 12, 0, 5, 900_000, UTC)
    found = first_recovery([*theirs, *log(INTERRUPTED, ENDS[0], READY)], since=created)
    assert found is not None
    assert [line.lsn for line in found.lines] == [END]
    assert first_recovery(theirs, since=created) is None


def test_a_clean_start_names_no_lsn() -> None:
    found = first_recovery(log("database system was shut down at 2024-04-27 11:59:00 UTC", READY))
    assert found is not None
    assert found.clean
    assert found.lines == ()


def test_what_a_client_says_is_not_what_the_server_says() -> None:
    forged = "LOG:  invalid record length at 0/66: wanted 24, got 0"
    lines = [
        *log(INTERRUPTED),
        *log(f"select '{forged}'", severity="STATEMENT"),
        f"\t{forged}",
        *log(f"statement: select 1 -- {forged}"),
        *log(ENDS[0], READY),
    ]
    found = first_recovery(lines)
    assert found is not None
    assert [line.lsn for line in found.lines] == [END]


def test_nothing_is_read_after_the_server_is_ready() -> None:
    def endless() -> object:
        yield from log(INTERRUPTED, ENDS[0], READY)
        raise AssertionError("read on")

    assert first_recovery(endless()) is not None  # type: ignore[arg-type]


def test_the_time_of_a_line_in_its_forms() -> None:
    expected = datetime(2024, 4, 27, 12, 0, 5, tzinfo=UTC)
    assert time_of("2024-04-27 12:00:05 UTC::@:[371]:LOG:  x") == expected
    assert time_of("2024-04-27 14:00:05 +02 [371] LOG:  x") == expected
    assert time_of("2024-04-27 12:00:05.250 GMT [371] LOG:  x") == expected.replace(microsecond=250_000)
    assert time_of("1714219205.000 [371] LOG:  x") == expected
    assert time_of("2024-04-27 14:00:05 CEST [371] LOG:  x") is None
