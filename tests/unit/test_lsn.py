"""An LSN reads both of PostgreSQL's spellings, compares by position and measures distances in bytes."""

import pytest

from encryptdb.controller.postgres.lsn import LSN


@pytest.mark.parametrize(
    ("text", "position"), [("0/0", 0), ("16/B374D848", 0x16B374D848), ("16/0374D848", 0x160374D848), ("0/1A", 26)]
)
def test_it_is_read_with_and_without_padding(text: str, position: int) -> None:
    assert LSN.parse(text) == LSN(position)


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/G", "1/123456789", "0/0;", "-1/0", "0/1 0/2"])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an LSN"):
        LSN.parse(text)


def test_it_is_written_as_postgresql_writes_it() -> None:
    assert str(LSN(0x160374D848)) == "16/374D848"


def test_it_orders_by_position_across_the_slash() -> None:
    assert LSN.parse("1/0") > LSN.parse("0/FFFFFFFF")
    assert LSN.parse("1/0") - LSN.parse("0/FFFFFFFF") == 1


def test_going_back_stops_at_zero() -> None:
    assert LSN(5).back(9).is_zero
