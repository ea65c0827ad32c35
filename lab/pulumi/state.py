"""The state of one stack: what the engine believes is there. One JSON file, replaced whole after every single step."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VERSION = 1


class StateError(Exception):
    """The state file cannot be used: another update holds it, or it is not one."""


@dataclass(frozen=True)
class Resource:
    """One resource as it was last seen by the engine.

    `dependencies` are URNs, the parent among them. `doomed` marks one that was replaced and still has to be deleted.
    """

    urn: str
    type: str
    name: str
    custom: bool
    id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain: bool = False
    timeouts: Mapping[str, str] = field(default_factory=dict)
    doomed: bool = False


@dataclass(frozen=True)
class Pending:
    """A creation that was begun; if it is still here when an update begins, that one was cut off."""

    urn: str
    type: str
    inputs: Mapping[str, Any]


class State:
    """What is in the file, and the file. Safe to use from several threads."""

    def __init__(self, path: Path, resources: list[Resource], pending: list[Pending]) -> None:
        self.path, self._resources, self._pending = path, resources, {p.urn: p for p in pending}
        self._lock = threading.RLock()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["State"]:
        """Read the state and hold it against other updates. Raises StateError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"another update of this stack is running (it holds {path})") from None
            yield cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> "State":
        if not path.exists():
            return cls(path, [], [])
        try:
            document = json.loads(path.read_text())
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']}")
            resources = [Resource(**r | {"dependencies": tuple(r["dependencies"])}) for r in document["resources"]]
            return cls(path, resources, [Pending(**p) for p in document["pending"]])
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path} is not a state file: {error}") from None

    def live(self, urn: str) -> Resource | None:
        """The resource of that URN, were it not replaced already."""
        with self._lock:
            return next((r for r in self._resources if r.urn == urn and not r.doomed), None)

    def all(self) -> tuple[Resource, ...]:
        with self._lock:
            return tuple(self._resources)

    def pending(self, urn: str) -> Pending | None:
        with self._lock:
            return self._pending.get(urn)

    def all_pending(self) -> tuple[Pending, ...]:
        with self._lock:
            return tuple(self._pending.values())

    def begin(self, pending: Pending) -> None:
        """Note that a creation begins, before anything is asked of AWS."""
        with self._lock:
            self._pending[pending.urn] = pending
            self._save()

    def forget_pending(self, urn: str) -> None:
        with self._lock:
            if self._pending.pop(urn, None):
                self._save()

    def put(self, resource: Resource, instead_of: Resource | None = None) -> None:
        """Keep a resource, in the place of `instead_of` if that is given; its creation is pending no more."""
        with self._lock:
            at = self._resources.index(instead_of) if instead_of in self._resources else len(self._resources)
            self._resources[at : at + 1] = [resource]
            self._pending.pop(resource.urn, None)
            self._save()

    def drop(self, resource: Resource) -> None:
        with self._lock:
            self._resources.remove(resource)
            self._save()

    def _save(self) -> None:
        document = {
            "version": VERSION,
            "resources": [asdict(r) for r in self._resources],
            "pending": [asdict(p) for p in self._pending.values()],
        }
        beside = self.path.with_suffix(".new")
        with beside.open("w") as out:
            json.dump(document, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self.path)
