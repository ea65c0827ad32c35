"""What was read, as frozen values. What could not be read is in `unseen`, never absent without a word."""

from dataclasses import dataclass
from typing import Any

from encryptdb.controller.engines import ParameterGroup, ServerSettings
from encryptdb.stacks.contract.outputs import Outputs


@dataclass(frozen=True)
class Unseen:
    """Something that could not be read: what, why, and what would make it readable."""

    what: str
    why: str
    remedy: str | None = None


@dataclass(frozen=True)
class Reference:
    """Something in AWS that names the old server. `names` is what of it, `instead` what to do."""

    kind: str
    name: str
    names: str
    instead: str


@dataclass(frozen=True)
class Found:
    """Everything. A side is empty where AWS says that there is none (or, of the target, before it is made); the servers
    of a cluster are the cluster and its instances, the writer first.

    `state` is None where it could not be read; `marked` is whether the prepared parameter stands, None where unknown.
    `groups` are the parameter groups that this stack made and the target uses; `earlier` are targets of this stack's
    other attempts.
    """

    outputs: Outputs
    state: str | None
    prepared_parameter: bool | None
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
        """Whether AWS says that the source is no more."""
        return self.source_seen and not self.source

    def as_json(self) -> dict[str, Any]:
        """What `--json` shows of it besides the text."""
        return {
            "target": [s.identifier for s in self.target],
            "source_gone": self.source_gone if self.source_seen else None,
            "references": [vars(r) for r in self.references],
            "unseen": [vars(u) for u in self.unseen],
        }
