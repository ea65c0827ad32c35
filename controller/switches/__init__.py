"""Switches: how applications are told where the database is. Several at once, chosen in the stack's config.

Before OPEN a switch may hold clients back (`pause`) but changes nothing; after OPEN it is applied, checked, and clients
are let go (`resume`). One that fails after OPEN is repeated and reported, never answered by opening the other side.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from encryptdb.controller.waiting import Clock, Reporter
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Usage


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached, and what AWS knows it by; the API lists such identifiers under `listed_as`."""

    host: str
    port: int
    identifier: str | None = field(default=None, compare=False)
    listed_as: str = field(default="DBInstanceIdentifiers", compare=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    """What every switch is told: from where to where, and how to reach AWS and the environment."""

    from_: Endpoint
    to: Endpoint
    aws: Aws
    environ: Mapping[str, str]
    databases: tuple[str, ...] = ()


class Switch(Protocol):
    """One switch. Made by its kind's factory, which raises Usage (naming the key) for a wrong config."""

    kind: str

    @property
    def name(self) -> str:
        """What the operator knows it by."""
        ...

    def probe(self) -> str | None:
        """Look whether everything below would work, changing nothing. Returns what the operator should know
        beforehand, if there is anything. Raises a Problem."""

    def pause(self, seconds: float) -> None:
        """Hold clients back, in at most `seconds`. Raises Failed where they cannot be held in that time."""

    def apply(self) -> None:
        """Point clients to the new side. Safe to repeat."""

    def check(self) -> None:
        """Read back that `apply` took effect. Raises Failed."""

    def undo(self) -> None:
        """Point clients to where they were before `apply`."""

    def resume(self) -> None:
        """Let clients go. Safe to repeat, and where nobody was held."""

    def release(self) -> dict[str, Any] | None:
        """What a guard needs to let clients go if this process dies (see `guard`); None where nobody is held."""
        ...


@runtime_checkable
class Settles(Protocol):
    """A switch whose change takes its time to spread after `check`. Waited for when clients have been let go."""

    def settle(self, reporter: Reporter, clock: Clock) -> None:
        """Wait until it has spread. Raises Failed after a while of its own."""


Factory = Callable[[Mapping[str, Any], Target], Switch]


def _kinds() -> dict[str, Factory]:
    from encryptdb.controller.switches import command, pgbouncer, rds_proxy, route53, secretsmanager

    return {
        "pgbouncer": pgbouncer.PgBouncer.read,
        "secretsmanager": secretsmanager.SecretsManager.read,
        "route53": route53.Route53.read,
        "rds-proxy": rds_proxy.RdsProxy.read,
        "command": command.Command.read,
    }


def build(
    documents: tuple[Mapping[str, Any], ...], from_: Endpoint, to: Endpoint, aws: Aws, databases: tuple[str, ...] = ()
) -> list[Switch]:
    """The switches of a stack, those that hold clients back first. Raises Usage, which names the key."""
    kinds = _kinds()
    target = Target(from_, to, aws, os.environ, databases)
    made: list[Switch] = []
    for number, document in enumerate(documents):
        kind = document.get("kind")
        if kind not in kinds:
            raise Usage(
                f"switches[{number}].kind: {kind!r} is not known.",
                hint=f"Known kinds: {', '.join(kinds)}. Correct `switches` in the stack's config, then pulumi up.",
            )
        try:
            made.append(kinds[str(kind)](document, target))
        except Usage as problem:
            raise Usage(f"switches[{number}].{problem.message}", detail=problem.detail, hint=problem.hint) from None
    return sorted(made, key=lambda s: s.release() is None)


def text(document: Mapping[str, Any], key: str) -> str:
    """A required string of a switch's config. Raises Usage."""
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise Usage(f"{key}: expected a string, found {value!r}.")
    return value
