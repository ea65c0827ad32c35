"""What preflight hands back: findings, what could not be looked at, and whether to go on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from encryptdb.controller.preflight.check import Check, Finding, Severity
from encryptdb.controller.preflight.facts import Facts
from encryptdb.controller.preflight.text import listed
from encryptdb.stacks.contract.errors import AGAIN, Failed, Refused


@dataclass(frozen=True)
class Report:
    """Everything preflight found. `passed` are checks without a finding, `unavailable` those that could not be made, or
    not everywhere, because something that they read is unavailable. A check of another stage is in neither."""

    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    unavailable: tuple[str, ...]
    databases: tuple[str, ...]

    def of(self, *severities: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity in severities)

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [f.to_json() for f in self.findings],
            "blocks": len(self.of("blocks", "unavailable")),
            "warns": len(self.of("warns")),
            "passed": list(self.passed),
            "unavailable": list(self.unavailable),
            "databases": list(self.databases),
        }

    def raise_if_blocked(self) -> None:
        """Raise PreflightFailed where something could not be read, PreflightRefused where something else blocks."""
        if self.of("unavailable"):
            raise PreflightFailed(self)
        if self.of("blocks"):
            raise PreflightRefused(self)

    def words(self) -> tuple[str, str, str]:
        """Message, detail and hint for what blocks."""
        blocking, missing = self.of("blocks", "unavailable"), self.of("unavailable")
        count = f"{len(blocking)} problem{'s' if len(blocking) > 1 else ''}"
        message = f"{missing[0].found + ' ' if missing else ''}Preflight found {count} that must be solved first."
        detail = "\n".join(str(f) for f in blocking)
        if self.unavailable:
            detail += f"\nNot checked, because something is unavailable: {listed(self.unavailable)}."
        return message, detail, (missing[0].remedy if missing else None) or f"Apply each remedy, then: {AGAIN}"


class PreflightRefused(Refused):
    """Preflight found something that makes going on unsafe. `document` is the whole report for `--json`."""

    def __init__(self, report: Report) -> None:
        message, detail, hint = report.words()
        super().__init__(message, detail=detail, hint=hint)
        self.document = report.to_json()


class PreflightFailed(Failed):
    """A server, a database or AWS is unavailable. `document` is the whole report for `--json`."""

    def __init__(self, report: Report) -> None:
        message, detail, hint = report.words()
        super().__init__(message, detail=detail, hint=hint)
        self.document = report.to_json()


def evaluate(facts: Facts, checks: Iterable[Check]) -> Report:
    """Make the checks on what was read. Pure."""
    findings: list[Finding] = []
    passed: list[str] = []
    missing: list[str] = []
    for check in checks:
        if not check.applies(facts.stage):
            continue
        found, complete = check.findings(facts)
        findings += found
        if not complete:
            missing.append(check.id)
        elif not found:
            passed.append(check.id)
    server = facts.source or facts.target
    databases = tuple(d.name for d in server.moving) if server else ()
    return Report(tuple(findings), tuple(passed), tuple(missing), databases)
