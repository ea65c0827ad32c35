"""What the handlers have in common: the call to AWS, the wait with a deadline, tags, and how a difference is judged."""

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

Properties = dict[str, Any]
"""Inputs or outputs of a resource, under pulumi-aws's camelCase names."""

EVERY_SECONDS = 0.25
"""How often a state is asked for. On loopback a question costs next to nothing."""

TELL_SECONDS = 15.0
"""How often a wait that goes on says so."""


class ProviderError(Exception):
    """AWS refused, or something did not get where it should. The text is for the operator, and holds no secret.

    `code` is AWS's own, where it was AWS that refused.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """The operator asked to stop while something was being waited for."""


@dataclass
class Calls:
    """How handlers reach AWS and tell the operator. One per run, shared by threads.

    `seconds` is the deadline of the operation at hand; `now` and `pause` are injected for tests.
    """

    say: Callable[[str], None] = print
    stop: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], float] = time.monotonic
    region: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        # boto3's default session is not safe to make clients from in several threads; the clients themselves are.
        with self._lock:
            if service not in self._clients:
                config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})
                self._clients[service] = boto3.client(service, region_name=self.region, config=config)  # type: ignore[call-overload]
            return self._clients[service]

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call one operation. Raises ProviderError with AWS's own words."""
        found = self.find(service, operation, (), **arguments)
        assert found is not None, "without codes for absence, an answer or an error"
        return found

    def find(self, service: str, operation: str, absent: Iterable[str], **arguments: Any) -> dict[str, Any] | None:
        """Call one operation; None where AWS answers with one of the codes that mean "there is no such thing"."""
        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in absent:
                return None
            raise ProviderError(str(error), error.response["Error"]["Code"]) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise ProviderError(f"AWS does not answer ({service} {operation}): {error}") from None
        return answer

    def insist(
        self,
        seconds: float,
        passes: Callable[[ProviderError], bool],
        service: str,
        operation: str,
        absent: Iterable[str] = (),
        **arguments: Any,
    ) -> dict[str, Any] | None:
        """As `find`, and again while AWS refuses in a way that passes by itself. Raises as `find` and `wait` do."""
        answer: dict[str, Any] | None = None

        def probe() -> tuple[bool, str]:
            nonlocal answer
            try:
                answer = self.find(service, operation, absent, **arguments)
            except ProviderError as error:
                if not passes(error):
                    raise
                return False, str(error)
            return True, "accepted"

        self.wait(f"AWS to accept {operation}", seconds, probe)
        return answer

    def wait(self, what: str, seconds: float, probe: Callable[[], tuple[bool, str]]) -> None:
        """Ask until `probe` says yes; it also says what it saw. Raises ProviderError at the deadline, Interrupted."""
        began = told = self.now()
        while True:
            done, seen = probe()
            if done:
                return
            now = self.now()
            if now - began >= seconds:
                raise ProviderError(f"gave up after {seconds:.0f} s of waiting for {what}; last seen: {seen}")
            if now - told >= TELL_SECONDS:
                told = now
                self.say(f"  waiting for {what}: {seen} ({now - began:.0f} s)")
            if self.stop.wait(EVERY_SECONDS):
                raise Interrupted(f"stopped while waiting for {what}; it goes on in AWS")


class Handler(ABC):
    """One resource type."""

    replaced_by: frozenset[str] = frozenset()
    """Inputs that cannot be changed in place (ForceNew in the Terraform provider)."""

    unordered: frozenset[str] = frozenset()
    """Inputs that are sets: order does not count."""

    named_by: str | None = None
    """The input that is its name in AWS. Two of one name cannot exist, so it is deleted before it is replaced."""

    readable: frozenset[str] = frozenset()
    """Inputs that `read` tells under their own names."""

    computed: frozenset[str] = frozenset()
    """Inputs that AWS decides where the program says nothing: to leave one out is no difference."""

    defaults: Mapping[str, Any] = {}
    """What an input is where the program says nothing (Default in the Terraform provider)."""

    imported: Mapping[str, Any] = {}
    """Inputs that nothing can be read of, and what an import takes them to be (the Terraform provider's importer)."""

    @abstractmethod
    def create(self, calls: Calls, inputs: Properties, seconds: float) -> tuple[str, Properties]:
        """Make it, wait until it is there; its id and outputs."""

    @abstractmethod
    def read(self, calls: Calls, identity: str) -> Properties | None:
        """Its outputs now, or None where it is gone."""

    @abstractmethod
    def update(
        self, calls: Calls, identity: str, inputs: Properties, changed: frozenset[str], seconds: float
    ) -> Properties:
        """Bring it to `inputs`, of which `changed` differ from before; its outputs."""

    @abstractmethod
    def delete(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        """Delete it and wait until it is gone. Gone already is as good."""

    @abstractmethod
    def find(self, calls: Calls, inputs: Properties) -> str | None:
        """The id of what a create with these inputs made, were it cut off, if its tags say that it is that."""

    def settle(self, calls: Calls, identity: str, inputs: Properties, seconds: float) -> None:
        """Bring something that was found to where `create` would have brought it. Most things are there at once."""
        return

    def identity(self, outputs: Properties, asked: str) -> str:
        """The id of what was read; an import may have asked for it by another name."""
        return asked

    def inputs(self, outputs: Properties, known: Properties) -> Properties:
        """The inputs that declare it as it stands. `known` are the last ones given; at an import there are none."""
        if not known:
            told = {k: outputs[k] for k in sorted(self.readable) if outputs.get(k) not in (None, "")}
            return told | dict(self.imported)
        drifted = [k for k in known.keys() & self.readable if self._norm(k, outputs) != self._norm(k, known)]
        return known | {k: outputs.get(k) for k in drifted}

    def changed(self, old: Properties, new: Properties) -> frozenset[str]:
        """The inputs that differ."""
        asked = (old.keys() - self.computed) | new.keys()
        return frozenset(k for k in asked if self._norm(k, old) != self._norm(k, new))

    def _norm(self, key: str, inputs: Properties) -> Any:
        value = inputs.get(key)
        if value is None:
            value = self.defaults.get(key)
        if key in self.unordered and isinstance(value, list):
            return sorted(value, key=lambda v: json.dumps(v, sort_keys=True))
        # The Terraform bridge sees no difference between what is empty and what is not there.
        return None if value in ([], {}, "") else value


def as_tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": k, "Value": v} for k, v in sorted((tags or {}).items())]


def as_tags(answer: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    return {t["Key"]: t.get("Value", "") for t in answer or ()}


def same_tags(inputs: Properties, answer: Iterable[Mapping[str, str]] | None) -> bool:
    """Whether what was found carries every tag that was asked for: then it is ours, not a stranger of the same name."""
    wanted = inputs.get("tags") or {}
    found = as_tags(answer)
    return bool(wanted) and all(found.get(k) == v for k, v in wanted.items())


def retag_rds(calls: Calls, arn: str, wanted: Mapping[str, str]) -> None:
    """Give an RDS thing exactly these tags (AWS's own stay)."""
    standing = as_tags(calls.call("rds", "list_tags_for_resource", ResourceName=arn).get("TagList"))
    gone = [k for k in standing if k not in wanted and not k.startswith("aws:")]
    if gone:
        calls.call("rds", "remove_tags_from_resource", ResourceName=arn, TagKeys=gone)
    if wanted:
        calls.call("rds", "add_tags_to_resource", ResourceName=arn, Tags=as_tag_list(wanted))
