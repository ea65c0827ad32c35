"""What has to be done about one resource: the engine's step generator, without effects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from encryptdb.lab.provider.base import Handler, Properties
from encryptdb.lab.pulumi.state import Resource

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the SDK writes a value that is known only once something else was made (pulumi/runtime/rpc.py)."""

DEFAULT_SECONDS: Mapping[str, float] = {"create": 2400.0, "update": 4800.0, "delete": 3600.0}
"""How long an operation may take where the program does not say; the Terraform provider's for an instance."""

_ROOT = re.compile(r"[^.\[]+")
_PART = re.compile(r"(\d+)(ms|[hms])")
_UNIT: Mapping[str, float] = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}


@dataclass(frozen=True)
class Goal:
    """A resource as the program declares it."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: Properties
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain: bool = False
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None
    timeouts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What to do, with the inputs that count, and which of them differ from before."""

    kind: Literal["create", "same", "update", "replace"]
    inputs: Properties
    changed: frozenset[str] = frozenset()
    delete_first: bool = False


def step(old: Resource | None, goal: Goal, handler: Handler | None) -> Step:
    """The step that gets from what was to the goal."""
    if old is None:
        return Step("create", goal.inputs)
    inputs = with_ignored(dict(old.inputs), goal.inputs, goal.ignore_changes)
    if handler is None:
        return Step("same", inputs)
    changed = handler.changed(dict(old.inputs), inputs)
    if not changed:
        return Step("same", inputs)
    if changed & (handler.replaced_by | set(goal.replace_on_changes)):
        first = deletes_first(handler, changed) if goal.delete_before_replace is None else goal.delete_before_replace
        return Step("replace", inputs, changed, delete_first=first)
    return Step("update", inputs, changed)


def deletes_first(handler: Handler, changed: frozenset[str]) -> bool:
    """Whether both would have one name, so that the old one has to go before the new one comes."""
    return handler.named_by is not None and handler.named_by not in changed


def with_ignored(old: Properties, new: Properties, ignored: tuple[str, ...]) -> Properties:
    """The new inputs, with the old value (or the old absence) of what is ignored. `*` is everything.

    Paths into a property ignore the whole property here; the real engine goes down to the element.
    """
    if "*" in ignored:
        return dict(old)
    roots = {found.group() for path in ignored if (found := _ROOT.match(path))}
    kept = {k: v for k, v in new.items() if k not in roots}
    return kept | {k: v for k, v in old.items() if k in roots}


def seconds(timeouts: Mapping[str, str], operation: str) -> float:
    """The deadline of an operation in seconds, from Go's way to write a duration (`12h`, `1h30m`)."""
    text = timeouts.get(operation) or ""
    parts = _PART.findall(text)
    return sum(int(n) * _UNIT[u] for n, u in parts) if parts else DEFAULT_SECONDS[operation]


def holds_unknown(value: Any) -> bool:
    """Whether something in it is not known yet."""
    if isinstance(value, Mapping):
        return any(holds_unknown(v) for v in value.values())
    if isinstance(value, list):
        return any(holds_unknown(v) for v in value)
    return bool(value == UNKNOWN)
