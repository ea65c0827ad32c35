"""The controller is killed at the beginning, after the effect and at the end of every step of the plan, then run again:
it ends as if nothing had happened. A step that is added to the plan tomorrow is killed as well."""

from encryptdb.controller.plan import PLAN
from encryptdb.controller.steps.step import Command
from tests.acceptance.killed import DIED
from tests.kit.commands import World, ledger

MOMENTS = ("begin", "effect", "end")

OPTIONS: dict[Command, tuple[str, ...]] = {"prepare": ("--allow-reboot",), "retire": ("--end-rollback-window",)}

STATES: dict[Command, str] = {"prepare": "prepared", "replicate": "caught-up", "cutover": "open", "retire": "retired"}


def killed_at_every_step(world: World, command: Command) -> None:
    """Kill the command at each moment of each of its steps, one after the other, then let it finish."""
    given = OPTIONS.get(command, ())
    for step in (s for s in PLAN if s.command == command):
        for moment in MOMENTS:
            ended = world.end(
                world.command(
                    "tests.acceptance.killed", step.name, moment, command, "--stack", world.stack, "--json", *given
                )
            )
            # A step whose goal is met already does nothing, so there is no moment after its effect.
            assert ended.status in (DIED, 0), f"{step.name}, {moment}: {ended.told}"
    ended = world.controller(command, *given)
    assert ended.status == 0, ended.told
    assert ended.document["state"] == STATES[command]


def test_every_step_of_the_plan(world: World) -> None:
    for database in world.source["databases"]:
        with world.connect(database) as connection:
            connection.execute("INSERT INTO ledger (writer, n) SELECT 1, n FROM generate_series(1, 100) n")
    assert world.up(source=world.source["identifier"], phase="prepare").status == 0
    killed_at_every_step(world, "prepare")
    assert world.up(phase="restore").status == 0
    killed_at_every_step(world, "replicate")
    assert world.controller("verify").document["equal"] is True
    killed_at_every_step(world, "cutover")
    for database in world.source["databases"]:
        assert ledger(world, database, "target") == {1: list(range(1, 101))}
    killed_at_every_step(world, "retire")
    for side in ("source", "target"):
        with world.connect("postgres", side) as connection:
            assert connection.execute("SELECT 1 FROM pg_database WHERE datname = 'encryptdb'").fetchall() == []
            assert connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
            assert connection.execute("SELECT subname FROM pg_subscription").fetchall() == []
    assert world.up(phase="retire").status == 0
    assert world.controller("status").document["state"] == "retired"


def test_every_step_of_abandon(world: World) -> None:
    world.ready("caught-up")
    for step in (s for s in reversed(PLAN) if s.undo is not None):
        for moment in ("begin", "effect"):
            ended = world.end(
                world.command(
                    "tests.acceptance.killed", f"undo {step.name}", moment, "abandon", "--stack", world.stack, "--json",
                    "--allow-reboot",
                )
            )  # fmt: skip
            assert ended.status in (DIED, 0), f"{step.name}, {moment}: {ended.told}"
            refused = world.controller("cutover")
            assert refused.status == 4, refused.told
    ended = world.controller("abandon", "--allow-reboot")
    assert (ended.status, ended.document["state"]) == (0, "abandoned"), ended.told
