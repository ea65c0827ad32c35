"""One migration as a command works on it: the stack's outputs, both servers, AWS, and the reporter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from encryptdb.controller.engines import Engine, engine_of
from encryptdb.controller.next_line import next_attempt
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.login import login
from encryptdb.controller.postgres.lsn import LSN
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Server, SideName
from encryptdb.controller.waiting import Clock, Reporter, SystemClock
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract.outputs import Outputs, Side


@dataclass(frozen=True)
class Options:
    """The options of all commands. `max_pause` is in seconds."""

    allow_reboot: bool = False
    lsn: LSN | None = None
    max_pause: float = 10.0
    dry_run: bool = False
    approved_by: str | None = None
    delete_source: str | None = None
    end_rollback_window: bool = False
    watch: bool = False
    output: str | None = None
    tool: str = "pulumi"

    @property
    def given(self) -> frozenset[str]:
        """Those of the options given that the table of states refers to."""
        return frozenset({"--end-rollback-window"} if self.end_rollback_window else ())


Moment = Literal["begin", "effect", "end"]
Observer = Callable[[str, Moment], None]
"""Told the name of a step, or of a verb inside the pause, and one of begin, effect, end."""


def unseen(name: str, moment: Moment) -> None:
    """The observer of a normal run: does nothing."""


@dataclass(frozen=True)
class Migration:
    """Everything a step needs. Made once per command by `open_migration`."""

    outputs: Outputs
    names: Names
    aws: Aws
    source: Server
    target: Server | None
    reporter: Reporter = field(default_factory=Reporter)
    clock: Clock = field(default_factory=SystemClock)
    options: Options = field(default_factory=Options)
    observer: Observer = unseen

    @property
    def approved_by(self) -> str:
        """For the journal: --approved-by, or whoever runs the command."""
        return self.options.approved_by or control.who()

    def say(self, text: str) -> None:
        self.reporter.say(text)

    @cached_property
    def engine(self) -> Engine:
        """RDS or Aurora, by the outputs."""
        return engine_of(self.outputs.engine, self.aws)

    def described(self, identifier: str) -> Database:
        """The server in AWS. Raises Failed if it does not exist."""
        return self.engine.the(identifier)

    @property
    def the_target(self) -> Server:
        """The target, for commands that the table of states allows only if there is one."""
        assert self.target is not None
        return self.target

    @property
    def next_attempt(self) -> str:
        """The command line that abandons this attempt and begins the next one."""
        return next_attempt(self.outputs)

    def sides(self) -> list[Server]:
        """The source, and the target if there is one."""
        return [self.source] + ([self.target] if self.target else [])

    def close(self) -> None:
        for server in self.sides():
            server.close()


def open_migration(outputs: Outputs, options: Options, purpose: str, reporter: Reporter) -> Migration:
    """Resolve the logins of both servers. Connects to Secrets Manager only. `purpose` is the command's name."""
    aws = Aws(outputs.region)

    def server(name: SideName, side: Side) -> Server:
        return Server(name, side.host or "", side.port, login(name, outputs, aws), purpose, outputs.stack)

    source = server("source", outputs.source)
    target = server("target", outputs.target) if outputs.target is not None else None
    return Migration(outputs, Names.of(outputs.stack), aws, source, target, reporter, options=options)
