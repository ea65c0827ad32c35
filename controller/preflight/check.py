"""One check: its definition stands beside its decision, and docs/preflight.md is printed from it.

A decision is pure. It sees only what could be read; where something that it reads is unavailable, the check is reported
as unavailable and never as passed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.preflight.facts import DatabaseFacts, Facts, HiddenSetting, Reading, ServerFacts, Stage

Severity = Literal["blocks", "unavailable", "warns", "ok"]
Strategy = Literal["online"]

SIDES: Mapping[str, tuple[SideName, ...]] = {"both": ("source", "target"), "source": ("source",), "none": ()}

STAGES: Mapping[str, tuple[Stage, ...]] = {
    "always": tuple(Stage),
    "before prepare": (Stage.UNPREPARED,),
    "until the restore": (Stage.UNPREPARED, Stage.PREPARED),
    "until OPEN": (Stage.UNPREPARED, Stage.PREPARED, Stage.RESTORED),
    "from prepare to OPEN": (Stage.PREPARED, Stage.RESTORED),
    "from the restore to OPEN": (Stage.RESTORED,),
}
"""When a check is made, in the words of the docs."""


@dataclass(frozen=True)
class Finding:
    """What a check has to say. `remedy` can be pasted: SQL for `side` and `database` (None: any database), or shell.

    `part` tells two findings of one check, side and database apart. `side` is also `aws`.
    """

    severity: Severity
    found: str
    needed: str
    remedy: str | None = None
    part: str | None = None
    side: str | None = None
    database: str | None = None
    check: str = ""

    @property
    def id(self) -> str:
        """The same in every run, e.g. `room:source:max_wal_senders`; needs no quotes in a shell."""
        parts = (self.check, self.side, self.database, self.part)
        return ":".join(quote(p, safe="") for p in parts if p is not None)

    def to_json(self) -> dict[str, Any]:
        keys = ("id", "check", "severity", "side", "database", "found", "needed", "remedy")
        return {key: getattr(self, key) for key in keys}

    def __str__(self) -> str:
        place = ", ".join(p for p in (self.side, f"database {self.database!r}" if self.database else None) if p)
        text = f"{self.severity}: {self.check}{f' ({place})' if place else ''}: {self.found} Needed: {self.needed}"
        if self.remedy:
            text += "\n    remedy: " + self.remedy.replace("\n", "\n            ")
        return text


blocks = partial(Finding, "blocks")
unavailable = partial(Finding, "unavailable")
warns = partial(Finding, "warns")
ok = partial(Finding, "ok")

Findings = Iterator[Finding]


@dataclass(frozen=True)
class Check:
    """One check. `title` says what holds when it passes, `why` what it prevents; with `severity`, they are its words in
    docs/preflight.md. It is made in `stages` (a key of STAGES), for `strategies`, on `sides`, with `reads`.
    """

    id: str
    title: str
    why: str
    severity: str
    reads: tuple[Reading[Any], ...]
    sides: tuple[SideName, ...]
    stages: str
    strategies: tuple[Strategy, ...]
    decide: Callable[[Facts], Findings]
    decision: Callable[..., Findings]

    def applies(self, stage: Stage) -> bool:
        return stage in STAGES[self.stages]

    def complete(self, facts: Facts) -> bool:
        """Whether everything that it reads is there."""
        judged = [facts.server(s) for s in self.sides if s in _present(facts)]
        return facts.has(self.reads, "migration") and all(s is not None and s.complete(self.reads) for s in judged)

    def findings(self, facts: Facts) -> tuple[list[Finding], bool]:
        """What it has to say, and whether it could be made everywhere."""
        found: list[Finding] = []
        try:
            for finding in self.decide(facts):
                found.append(replace(finding, check=self.id))
        except HiddenSetting:
            return found, False
        return found, self.complete(facts)


def _present(facts: Facts) -> tuple[SideName, ...]:
    """The sides that count: after OPEN the source does not."""
    sides: list[SideName] = [] if facts.stage == Stage.OPEN else ["source"]
    return (*sides, "target") if facts.outputs.target is not None else tuple(sides)


D = TypeVar("D", bound=Callable[..., Findings])
Per = Callable[[D, tuple[Reading[Any], ...], tuple[SideName, ...]], Callable[[Facts], Findings]]


def check(
    per: Per[D],
    severity: str,
    *,
    reads: tuple[Reading[Any], ...] = (),
    sides: str = "both",
    stages: str = "always",
    strategies: tuple[Strategy, ...] = ("online",),
) -> Callable[[D], Check]:
    """Define a check by its decision, whose name is the check's id; of its docstring, the first sentence is the title.

    `per` is what the decision is made for: `migration`, `server` or `database`. `sides` is a key of SIDES.
    """

    def define(decision: D) -> Check:
        title, _, why = " ".join((decision.__doc__ or "").split()).partition(". ")
        id, on = decision.__name__.replace("_", "-"), SIDES[sides]
        decide = per(decision, reads, on)
        return Check(id, title.rstrip("."), why, severity, reads, on, stages, strategies, decide, decision)

    return define


def migration(
    decision: Callable[[Facts], Findings], reads: tuple[Reading[Any], ...], sides: tuple[SideName, ...]
) -> Callable[[Facts], Findings]:
    """Decide once, where every server and reading of the check is there."""

    def decide(facts: Facts) -> Findings:
        servers = [facts.server(s) for s in sides]
        if facts.has(reads, "migration") and all(s is not None and s.has(reads, "server") for s in servers):
            yield from decision(facts)

    return decide


def server(
    decision: Callable[[Facts, ServerFacts], Findings], reads: tuple[Reading[Any], ...], sides: tuple[SideName, ...]
) -> Callable[[Facts], Findings]:
    """Decide for each server whose readings are there."""

    def decide(facts: Facts) -> Findings:
        for found in facts.servers:
            if found.side in sides and found.has(reads, "server") and facts.has(reads, "migration"):
                for finding in decision(facts, found):
                    yield replace(finding, side=found.side)

    return decide


def database(
    decision: Callable[[Facts, ServerFacts, DatabaseFacts], Findings],
    reads: tuple[Reading[Any], ...],
    sides: tuple[SideName, ...],
) -> Callable[[Facts], Findings]:
    """Decide for each moving database whose readings are there."""

    def each(facts: Facts, found: ServerFacts) -> Findings:
        for inside in found.moving:
            if inside.objects is not None and inside.has(reads, "database"):
                for finding in decision(facts, found, inside):
                    yield replace(finding, database=inside.name)

    return server(each, reads, sides)
