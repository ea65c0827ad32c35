"""The plan is a runbook: unique names, commands in order, a summary each, an undo or an explicit none."""

from encryptdb.controller.permissions import COMMANDS
from encryptdb.controller.plan import PLAN


def test_names_are_unique() -> None:
    assert len({step.name for step in PLAN}) == len(PLAN)


def test_commands_come_in_their_order() -> None:
    order = [COMMANDS.index(step.command) for step in PLAN]
    assert order == sorted(order)


def test_every_step_says_what_it_does_in_one_line() -> None:
    assert all(step.summary and "\n" not in step.summary and len(step.summary) < 90 for step in PLAN)


def test_the_order_that_must_hold() -> None:
    names = [step.name for step in PLAN]
    order = ["parameters", "publication", "slot", "first-heartbeat", "prepared-parameter", "isolate", "exact-lsn"]
    order += [
        "subscription",
        "origin",
        "enable",
        "catch-up",
        "move",
        "retirement",
        "report",
        "subscriptions",
        "source",
        "target",
    ]
    assert [name for name in names if name in order] == order


def test_everything_that_prepare_makes_on_the_source_can_be_undone() -> None:
    assert [step.name for step in PLAN if step.command == "prepare" and step.undo is None] == ["first-heartbeat"]
