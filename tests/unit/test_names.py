"""Names on the servers are safe for a slot, short enough, and tell stacks apart."""

import re

import pytest

from encryptdb.controller.postgres.object_names import IDENTIFIER_BYTES, Names


def test_a_plain_stack_name_is_kept() -> None:
    assert Names.of("orders_prod").slot(16384) == "encryptdb_orders_prod_16384"


def test_the_way_back_has_its_own_names() -> None:
    names = Names.of("orders-prod")
    assert names.back_slot(16384) == names.slot(16384) + "_back"


@pytest.mark.parametrize("stack", ["orders-prod", "Orders.Prod", "a" * 200, "ordrés", "x/y z"])
def test_every_name_may_be_a_slots_name(stack: str) -> None:
    longest = Names.of(stack).back_slot(2**32 - 1)
    assert re.fullmatch(r"[a-z0-9_]+", longest)
    assert len(longest.encode()) <= IDENTIFIER_BYTES


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert Names.of("a" * 60 + "1").publication != Names.of("a" * 60 + "2").publication
