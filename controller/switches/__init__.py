"""Switches: how applications are told where the database is. Several at once, chosen in the stack's config.

Before OPEN a switch may hold clients (`pause`) but changes nothing. After OPEN it is applied and read back, and its
clients are resumed; one that fails is retried and reported, and never answered by opening the other side.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

from encryptdb.controller.postgres.login import Login
from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Usage
from encryptdb.stacks.contract.names import SWITCH_KINDS


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached, and its identifier in AWS; `listed_as` is the API's key for a list of identifiers."""

    host: str
    port: int
    identifier: str | None = field(default=None, compare=False)
    listed_as: str = field(default="DBInstanceIdentifiers", compare=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Context:
    """What every switch is given: from where to where, and how to reach AWS and the environment."""

    from_: Endpoint
    to: Endpoint
    aws: Aws
    environ: Mapping[str, str]
    databases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ApplicationLogin:
    """A login that applications use, and the database it is for (None: any)."""

    login: Login
    database: str | None


@dataclass
class Switch:
    """One switch. A kind overrides what it does; the rest does nothing. Every method may be called more than once."""

    context: Context

    kind: ClassVar[str]
    holds_clients: ClassVar[bool] = False
    """Whether `pause` holds clients. If so, `held` and `resume_held` are needed as well."""

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "Switch":
        """Make one from the stack's config. Raises Usage, whose message begins with the key."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What messages call it."""
        raise NotImplementedError

    @property
    def from_(self) -> Endpoint:
        return self.context.from_

    @property
    def to(self) -> Endpoint:
        return self.context.to

    @property
    def aws(self) -> Aws:
        return self.context.aws

    def probe(self) -> str | None:
        """Check that the methods below would work, without a change. Returns advice for the operator, if there is any.
        Raises a Problem."""
        return None

    def logins(self) -> Iterable[ApplicationLogin]:
        """Logins that applications use, as far as the switch knows them: they are tried on the arriving side before the
        pause, because a password changed since the snapshot is not replicated. Raises a Problem."""
        return ()

    def pause(self, seconds: float) -> None:
        """Hold clients, within `seconds`. Raises Failed if that takes longer."""

    def apply(self) -> None:
        """Point clients to the arriving side."""

    def check(self) -> None:
        """Read back that `apply` took effect. Raises Failed."""

    def resume(self) -> None:
        """Resume clients, if any are held."""

    def settle(self, reporter: Reporter, clock: Clock) -> None:
        """Wait until the change has spread, once clients were resumed. Raises Failed on its own timeout."""

    def held(self) -> dict[str, Any]:
        """What `resume_held` needs in another process, as JSON values. May hold a password: it goes through a pipe."""
        return {}

    @staticmethod
    def resume_held(held: Mapping[str, Any]) -> None:
        """Resume the clients of a controller that was killed while it held them. Called in another process."""


def switch_class(kind: str) -> type[Switch]:
    """The class of a kind: `SWITCH` of the module that has the kind's name."""
    found: type[Switch] = import_module(f"{__name__}.{kind.replace('-', '_')}").SWITCH
    return found


def build(
    documents: tuple[Mapping[str, Any], ...], from_: Endpoint, to: Endpoint, aws: Aws, databases: tuple[str, ...] = ()
) -> list[Switch]:
    """The switches of a stack, those that hold clients first. Raises Usage, which names the key."""
    context = Context(from_, to, aws, os.environ, databases)
    made: list[Switch] = []
    for number, document in enumerate(documents):
        kind = document.get("kind")
        if kind not in SWITCH_KINDS:
            raise Usage(
                f"switches[{number}].kind: unknown kind {kind!r}.",
                hint=f"Use one of {', '.join(SWITCH_KINDS)} in `switches` of the stack's config, then pulumi up.",
            )
        try:
            made.append(switch_class(str(kind)).read(document, context))
        except Usage as problem:
            raise Usage(f"switches[{number}].{problem.message}", detail=problem.detail, hint=problem.hint) from None
    return sorted(made, key=lambda switch: not switch.holds_clients)


def text(document: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A string of a switch's config. Raises Usage if it is missing and has no default, or is no string."""
    value = document.get(key, default)
    if not isinstance(value, str) or not value:
        raise Usage(f"{key}: expected a string, found {value!r}.")
    return value
