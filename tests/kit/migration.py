"""A migration as a command has it, on plain servers: outputs made up, AWS absent unless it is given."""

from dataclasses import replace
from typing import Any

from encryptdb.controller.migration import Migration, Options
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Server as Side
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.contract.outputs import Outputs
from encryptdb.stacks.contract.outputs import Side as OutputSide

ACCOUNT, REGION = "123456789012", "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"


class Lines:
    """A stream that keeps what is written to it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def write(self, text: str) -> int:
        self.lines.append(text)
        return len(text)

    def flush(self) -> None: ...


def reporter(said: list[str]) -> Reporter:
    """One that tells `said`."""
    return Reporter(stream=Lines(said))  # type: ignore[arg-type]


def outputs(
    stack: str, source: int = 5432, target: int = 5432, copy: str = "orders-encrypted", **changed: Any
) -> Outputs:
    """Those of a stack in the phase `restore`: the instance orders and its `copy`, at these ports of 127.0.0.1."""
    made = Outputs(
        contract=1,
        stack=stack,
        phase="restore",
        attempt=1,
        engine="postgres",
        region=REGION,
        account=ACCOUNT,
        source=OutputSide("orders", "db-orders", "127.0.0.1", source),
        target=OutputSide(copy, f"db-{copy}", "127.0.0.1", target),
        kms_key_arn=KEY,
        snapshot_arn=None,
        source_parameter_group=None,
        target_parameter_group=None,
    )
    return replace(made, **changed)


def side(name: SideName, port: int, user: str = "master", password: str = "not needed") -> Side:
    """A server as the controller has it."""
    return Side(name, "127.0.0.1", port, Login(user, Secret(password), "the test"))


def migration(
    told: Outputs, said: list[str], aws: Any = None, password: str = "not needed", **options: Any
) -> Migration:
    """The migration of these outputs: the master logs in on both sides. The caller closes it."""
    assert told.target is not None
    sides = side("source", told.source.port, password=password), side("target", told.target.port, password=password)
    return Migration(told, Names.of(told.stack), aws, *sides, reporter(said), options=Options(**options))
