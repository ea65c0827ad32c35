"""The table of states, executed: in every state every command that the table does not let go is run, and ends as the
table says; what it says to type next is a command that the table lets go."""

import shlex

from encryptdb.controller.next_line import Next, line
from encryptdb.controller.permissions import COMMANDS, TABLE, Row, Verdict
from encryptdb.controller.state import State
from encryptdb.stacks.contract.outputs import Outputs
from tests.kit.commands import World

STATUS = {Verdict.DONE: 0, Verdict.NOT_YET: 3, Verdict.REFUSED: 4}


def row_of(world: World) -> Row:
    """The row that holds, by what `status` shows."""
    shown = world.controller("status").document
    return next(
        row
        for row in TABLE
        if row.state == shown["state"] and (row.condition is None or row.condition in shown["conditions"])
    )


def every_other_cell(world: World, name: str) -> None:
    """Run every command that does not go on in this state. Nothing of it changes the state."""
    row = row_of(world)
    assert row.name == name
    outputs = Outputs.from_json(world.outputs())
    for command in COMMANDS:
        cell = row.cells[command]
        if cell.verdict is Verdict.GO:
            continue
        ended = world.controller(command)
        assert ended.status == STATUS[cell.verdict], f"{command} in {row.name}: {ended.told}"
        assert ended.document["state"] == row.state
        if cell.verdict is not Verdict.DONE:
            assert ended.document["error"]["hint"] == line(cell.next or row.next, outputs, world.env)
    assert row_of(world) is row


def follow(world: World, *more: str) -> None:
    """Type what `status` says comes next."""
    typed = world.controller("status").document["next"]
    program, *arguments = shlex.split(typed)
    module = {"encryptdb": ["controller"], "python": []}[program]
    ended = world.end(world.command(*module, *(a for a in arguments if a != "-m"), "--json", *more))
    assert ended.status == 0, f"{typed}: {ended.told}"


def test_every_command_in_every_state_up_to_retired(world: World) -> None:
    assert world.up(source=world.source["identifier"], phase="prepare").status == 0
    every_other_cell(world, "not-prepared")
    follow(world, "--allow-reboot")
    every_other_cell(world, "prepared")
    follow(world)
    every_other_cell(world, "restored")
    follow(world)
    every_other_cell(world, "caught-up")
    follow(world)
    every_other_cell(world, "open")
    follow(world)
    every_other_cell(world, "retired, before-phase-retire")
    follow(world)
    every_other_cell(world, "retired")
    follow(world)


def test_every_command_after_a_rollback_and_after_abandon(world: World) -> None:
    world.ready("caught-up")
    assert world.controller("cutover").status == 0
    assert world.controller("rollback").status == 0
    every_other_cell(world, "rolled-back")
    follow(world, "--allow-reboot")
    every_other_cell(world, "abandoned")
    follow(world)
    assert row_of(world).state is State.NOT_PREPARED
    assert world.outputs()["attempt"] == 2


def test_every_command_without_a_rollback_path(world: World) -> None:
    assert world.up(rollbackWindow="none").status == 0 or True
    world.ready("caught-up")
    assert world.up(rollbackWindow="none").status == 0
    assert world.controller("cutover").status == 0
    every_other_cell(world, "open, no-rollback-path")
    follow(world)


def test_every_command_once_the_rollback_window_is_over(world: World) -> None:
    world.ready("caught-up")
    assert world.controller("cutover").status == 0
    assert world.up(rollbackWindow="1s").status == 0
    every_other_cell(world, "open, rollback-window-closed")
    follow(world)


def test_every_next_line_is_one_that_the_table_knows() -> None:
    for row in TABLE:
        for next_ in [row.next, *(c.next for c in row.cells.values() if c.next)]:
            words = str(next_).split()
            if words[0] != "encryptdb" or next_ is Next.STATUS:
                continue
            cell = row.cells[words[1]]  # type: ignore[index]
            goes = cell.verdict is Verdict.GO or (cell.unless is not None and cell.unless in words)
            assert goes, f"{row.name} sends to {next_}, which does not go on there"
