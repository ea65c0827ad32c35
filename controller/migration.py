"""One migration as a command works on it: the stack's outputs, both servers, AWS, and the words for the operator."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from encryptdb.controller import credentials
from encryptdb.controller.engines import Engine, engine_of
from encryptdb.controller.postgres import control
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.waiting import Clock, Reporter, SystemClock
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.cloud.database import Database
from encryptdb.stacks.contract.errors import NotYet
from encryptdb.stacks.contract.outputs import Outputs


@dataclass(frozen=True)
class Options:
    """What the command line asked for. `max_pause` is in seconds."""

    allow_reboot: bool = False
    lsn: str | None = None
    max_pause: float = 10.0
    dry_run: bool = False
    approved_by: str | None = None
    delete_source: str | None = None
    watch: bool = False
    output: str | None = None
    tool: str = "pulumi"


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

    def say(self, text: str) -> None:
        self.reporter.say(text)

    @cached_property
    def engine(self) -> Engine:
        """RDS or Aurora: chosen here, from the outputs, and asked nowhere else."""
        return engine_of(self.outputs.engine, self.aws)

    def described(self, identifier: str) -> Database:
        """What AWS says of a server. Raises Failed where there is none of that name."""
        return self.engine.the(identifier)

    @property
    def the_target(self) -> Server:
        """The target. Raises NotYet before the infrastructure of the phase `restore` is there."""
        if self.target is None:
            raise NotYet(
                "There is no target yet.",
                detail=f"The stack {self.outputs.stack} is in phase {self.outputs.phase}: its outputs name no target.",
                hint=f"pulumi config set phase restore --stack {self.outputs.stack}, then pulumi up, "
                "then run this again.",
            )
        return self.target

    def sides(self) -> list[Server]:
        """The servers there are: the source, and the target if there is one."""
        return [self.source] + ([self.target] if self.target else [])

    def close(self) -> None:
        for server in self.sides():
            server.close()

    def note(self, event: str, **detail: Any) -> None:
        """Journal an event on the source."""
        control.note(self.source, event, **detail)


def open_migration(outputs: Outputs, options: Options, purpose: str, reporter: Reporter) -> Migration:
    """Resolve logins and describe both servers. Connects to nothing but Secrets Manager, where asked to."""
    aws = Aws(outputs.region)
    source = Server(
        "source", outputs.source.host or "", outputs.source.port, credentials.login("source", outputs, aws), purpose
    )
    target = None
    if outputs.target is not None:
        target = Server(
            "target", outputs.target.host or "", outputs.target.port, credentials.login("target", outputs, aws), purpose
        )
    return Migration(outputs, Names.of(outputs.stack), aws, source, target, reporter, options=options)
