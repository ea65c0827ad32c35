"""One pass over a stack: a preview, which touches nothing, or the update itself."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from encryptdb.lab.provider.base import Calls, Handler, Interrupted, Properties, ProviderError
from encryptdb.lab.pulumi.state import Pending, Resource, State
from encryptdb.lab.pulumi.step import Goal, Step, seconds, step

T = TypeVar("T")


class ProtectedError(Exception):
    """The program wants something deleted or replaced that is protected. Nothing has been touched."""


class DeploymentError(Exception):
    """One resource could not be brought to where it should be."""


@dataclass
class Changes:
    """What was done, by logical name. `same` counts."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    same: int = 0


class Deployment:
    """Registers goals (from several threads at once), then deletes what was not declared."""

    def __init__(self, state: State, handlers: Mapping[str, Handler], calls: Calls, *, preview: bool) -> None:
        self.state, self.handlers, self.calls, self.preview = state, handlers, calls, preview
        self.changes = Changes()
        self.declared: set[str] = set()
        self.failure: BaseException | None = None
        self._lock = threading.Lock()

    def register(self, goal: Goal) -> tuple[str, Properties]:
        """Bring one resource to its goal; its id and outputs. After a failure or an interrupt nothing more is begun."""
        with self._lock:
            if self.failure:
                raise DeploymentError(f"not begun, because of a failure elsewhere: {goal.name}")
            if self.calls.stop.is_set():
                raise Interrupted(f"not begun: {goal.name}")
            if goal.urn in self.declared:
                raise DeploymentError(f"declared twice: {goal.urn}")
            self.declared.add(goal.urn)
        try:
            return self._register(goal)
        except BaseException as error:
            with self._lock:
                self.failure = self.failure or error
            raise

    def finish(self) -> None:
        """Delete what the program does not declare any more, dependents first."""
        doomed = [r for r in self.state.all() if r.doomed or r.urn not in self.declared]
        protected = [r for r in doomed if r.protect and not r.doomed and not self._gone(r)]
        if protected:
            names = ", ".join(r.name for r in protected)
            raise ProtectedError(f"{names}: declared no more, but protected, so it is not deleted")
        for resource in dependents_first(doomed):
            if self.preview:
                self._note("deleted", resource)
                continue
            self._delete(resource)
            self._note("deleted", resource)

    def _register(self, goal: Goal) -> tuple[str, Properties]:
        old = self.state.live(goal.urn)
        handler = self._handler(goal)
        what = step(old, goal, handler)
        if what.kind == "replace" and old and old.protect:
            raise ProtectedError(
                f"{goal.name}: to be replaced because of {', '.join(sorted(what.changed))}, but protected"
            )
        if self.preview:
            self._note(_past(what.kind), goal)
            known = dict(old.outputs) if old and what.kind in ("same", "update") else {}
            return (old.id if old and what.kind in ("same", "update") else ""), known | what.inputs
        if handler is None:
            self._keep(goal, what, "", {}, old)
            return "", {}
        return self._apply(goal, what, old, handler)

    def _apply(self, goal: Goal, what: Step, old: Resource | None, handler: Handler) -> tuple[str, Properties]:
        began = time.monotonic()
        if what.kind == "same" and old:
            identity, outputs = old.id, dict(old.outputs)
        elif what.kind == "update" and old:
            limit = seconds(goal.timeouts, "update")
            identity = old.id
            outputs = self._do(
                "updating", goal.name, lambda: handler.update(self.calls, identity, what.inputs, what.changed, limit)
            )
        else:
            if old and what.delete_first:
                self._delete(old)
                old = None
            elif old:
                doomed = replace(old, doomed=True)
                self.state.put(doomed, instead_of=old)
                old = None
            what, identity, outputs = self._create(goal, what, handler)
        self._keep(goal, what, identity, outputs, old)
        self._note(_past(what.kind), goal)
        if what.kind != "same":
            self.calls.say(f"  {_past(what.kind)} {goal.name} ({time.monotonic() - began:.1f} s)")
        return identity, outputs

    def _create(self, goal: Goal, what: Step, handler: Handler) -> tuple[Step, str, Properties]:
        limit = seconds(goal.timeouts, "create")
        cut_off = self.state.pending(goal.urn)
        if cut_off:
            # As `pulumi refresh --import-pending-creates` does: what is there is what was asked for then.
            begun = replace(what, inputs=dict(cut_off.inputs))
            found = self._do("looking for", goal.name, lambda: handler.find(self.calls, begun.inputs))
            if found:
                self.calls.say(f"  {goal.name}: its creation was cut off; found, and taken over")
                self._do("waiting for", goal.name, lambda: handler.settle(self.calls, found, begun.inputs, limit))
                return begun, found, begun.inputs | (handler.read(self.calls, found) or {})
        self.state.begin(Pending(goal.urn, goal.type, what.inputs))
        self.calls.say(f"  creating {goal.name}")
        try:
            identity, outputs = self._do("creating", goal.name, lambda: handler.create(self.calls, what.inputs, limit))
        except DeploymentError:
            # Refused outright, nothing was made; made and then failed or late, its tags let the next update find it.
            if not handler.find(self.calls, what.inputs):
                self.state.forget_pending(goal.urn)
            raise
        return what, identity, outputs

    def _delete(self, resource: Resource) -> None:
        if resource.custom and not resource.retain:
            limit = seconds(resource.timeouts, "delete")
            handler = self.handlers[resource.type]
            self._do(
                "deleting",
                resource.name,
                lambda: handler.delete(self.calls, resource.id, dict(resource.inputs), limit),
            )
            self.calls.say(f"  deleted {resource.name}")
        self.state.drop(resource)

    def _gone(self, resource: Resource) -> bool:
        """Whether something that should go is gone already: what `pulumi refresh` would find, and then drop."""
        handler = self.handlers.get(resource.type)
        return handler is not None and handler.read(self.calls, resource.id) is None

    def _keep(self, goal: Goal, what: Step, identity: str, outputs: Properties, old: Resource | None) -> None:
        new = Resource(
            urn=goal.urn,
            type=goal.type,
            name=goal.name,
            custom=goal.custom,
            id=identity,
            inputs=what.inputs,
            outputs=outputs,
            dependencies=goal.dependencies,
            protect=goal.protect,
            retain=goal.retain,
            timeouts=goal.timeouts,
        )
        if new != old:
            self.state.put(new, instead_of=old)

    def _handler(self, goal: Goal) -> Handler | None:
        if not goal.custom:
            return None
        if goal.type not in self.handlers:
            raise DeploymentError(f"{goal.name}: the lab's provider does not know the type {goal.type}")
        return self.handlers[goal.type]

    def _do(self, doing: str, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except ProviderError as error:
            raise DeploymentError(f"{doing} {name}: {error}") from None
        except Interrupted as error:
            raise Interrupted(f"{doing} {name}: {error}") from None

    def _note(self, kind: str, resource: Goal | Resource) -> None:
        if not resource.custom:
            return
        with self._lock:
            if kind == "same":
                self.changes.same += 1
            else:
                getattr(self.changes, kind).append(resource.name)


def dependents_first(resources: list[Resource]) -> list[Resource]:
    """In an order in which nothing goes before what depends on it."""
    ordered: list[Resource] = []

    def visit(resource: Resource) -> None:
        if resource in ordered:
            return
        for other in resources:
            if other is not resource and resource.urn in other.dependencies:
                visit(other)
        ordered.append(resource)

    for resource in reversed(resources):
        visit(resource)
    return ordered


def _past(kind: str) -> str:
    return {"create": "created", "update": "updated", "replace": "replaced"}.get(kind, kind)
