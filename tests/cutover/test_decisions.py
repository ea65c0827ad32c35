"""What needs no server: which side serves, the rollback window, the pooler's file, and the order of undoing."""

from datetime import timedelta

import pytest

from encryptdb.controller.cutover.undo import Undo
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.switches import ini
from encryptdb.controller.waiting import SystemClock
from encryptdb.stacks.contract.errors import Failed, Interrupted, Refused
from encryptdb.stacks.contract.outputs import window_length

SIDE = Server("source", "127.0.0.1", 1, Login("master", Secret("x"), "the test"))


def test_the_rollback_window_is_a_duration() -> None:
    assert window_length("7d") == timedelta(days=7)
    assert window_length("36h") == timedelta(hours=36)
    assert window_length("2w") == timedelta(days=14)
    assert window_length("none") is None
    for text in ("a week", "7", "0d", "-1d", " 7d", ""):
        with pytest.raises(ValueError, match="not a duration"):
            window_length(text)


INI = """[databases]
; a = host=old port=1
a = host=old port=1 dbname=x
b=dbname='it''s host=old' host = 'old' port = 1
c = host=other port=1
d = host=old
"quoted ""name"" " = host=old port=1
* = host=old port=1
[pgbouncer]
a = host=old port=1
"""


def test_only_entries_that_point_to_the_old_side_are_changed_and_nothing_else() -> None:
    assert (
        ini.repoint(INI, lambda e: (e.host, e.port) == ("old", 1), "new", 2)
        == """[databases]
; a = host=old port=1
a = host=new port=2 dbname=x
b=dbname='it''s host=old' host = new port = 2
c = host=other port=1
d = host=old
"quoted ""name"" " = host=new port=2
* = host=new port=2
[pgbouncer]
a = host=old port=1
"""
    )


def test_a_port_that_was_left_out_is_added() -> None:
    assert ini.repoint("[databases]\nd = host=old\n", lambda e: e.port == 5432, "new", 2) == (
        "[databases]\nd = host=new port=2\n"
    )


def test_entries_say_what_they_point_to() -> None:
    found = {e.name: (e.host, e.port, e.database) for e in ini.entries(INI)}
    assert found == {
        "a": ("old", 1, "x"),
        "b": ("old", 1, "it's host=old"),
        "c": ("other", 1, "c"),
        "d": ("old", 5432, "d"),
        'quoted "name" ': ("old", 1, 'quoted "name" '),
        "*": ("old", 1, "*"),
    }


def undone(error: BaseException, *, returned: bool = False, broken: bool = False) -> tuple[list[str], BaseException]:
    done: list[str] = []

    def fail() -> None:
        raise Failed("The source does not answer.", detail="connection refused")

    with pytest.raises(BaseException) as told, Undo(SIDE, SystemClock(), SystemClock().monotonic() + 5) as undo:
        undo.first("end the watchdog", lambda: done.append("watchdog"))
        undo.then("drop the rollback path", lambda: done.append("rollback path"))
        undo.first("take the fence down", fail if broken else lambda: done.append("fence"))
        undo.then("resume replication", lambda: done.append("follow"))
        if returned:
            undo.past_return()
        raise error
    return done, told.value


def test_what_serving_depends_on_is_undone_first_and_in_reverse() -> None:
    done, told = undone(Refused("No.", detail="Because.", hint="Do this."))
    assert done == ["fence", "watchdog", "follow", "rollback path"]
    assert isinstance(told, Refused)
    assert (told.detail or "").startswith("Because. The source serves again, ")
    assert told.hint == "Do this."


def test_an_interruption_is_told_as_one() -> None:
    assert isinstance(undone(KeyboardInterrupt())[1], Interrupted)


def test_an_undo_that_fails_does_not_stop_the_others_and_the_watchdog_is_told_of() -> None:
    done, told = undone(Failed("Broken."), broken=True)
    assert done == ["watchdog", "follow", "rollback path"]
    assert isinstance(told, Failed)
    assert "take the fence down: The source does not answer. connection refused" in (told.detail or "")
    assert "The watchdog in the source takes the fence down by itself in" in (told.detail or "")


def test_past_the_point_of_no_return_nothing_is_undone() -> None:
    error = RuntimeError("later")
    assert undone(error, returned=True) == ([], error)
