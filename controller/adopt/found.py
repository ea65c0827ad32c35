"""What was read, as frozen values. What could not be read is listed in `unseen`, never reported as absent."""

from dataclasses import dataclass
from typing import Any

from encryptdb.controller.engines import ParameterGroup, ServerSettings
from encryptdb.stacks.contract.outputs import Outputs


@dataclass(frozen=True)
class Unseen:
    """Something that could not be read: what, why, and how to make it readable."""

    what: str
    why: str
    remedy: str | None = None


@dataclass(frozen=True)
class Reference:
    """Something in AWS that refers to the source: how it names it, and what to put instead."""

    kind: str
    name: str
    names: str
    instead: str


@dataclass(frozen=True)
class Found:
    """Everything that was read. A side is empty if AWS has no such server, or for the target before it is made. The
    servers of a cluster are the cluster and its instances, the writer first.

    `groups` are the parameter groups that this stack made and the target uses; `earlier` are the targets of this
    stack's other attempts.
    """

    outputs: Outputs
    target: tuple[ServerSettings, ...] = ()
    source: tuple[ServerSettings, ...] = ()
    source_seen: bool = True
    groups: tuple[ParameterGroup, ...] = ()
    target_group: ParameterGroup | None = None
    source_group: ParameterGroup | None = None
    earlier: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    unseen: tuple[Unseen, ...] = ()

    @property
    def source_gone(self) -> bool:
        """Whether AWS reports that the source does not exist."""
        return self.source_seen and not self.source

    def as_json(self) -> dict[str, Any]:
        """Its part of the `--json` document."""
        return {
            "target": [s.identifier for s in self.target],
            "source_gone": self.source_gone if self.source_seen else None,
            "references": [vars(r) for r in self.references],
            "unseen": [vars(u) for u in self.unseen],
        }
