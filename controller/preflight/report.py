"""What preflight hands back: findings, what could not be looked at, and whether to go on."""

from dataclasses import dataclass
from typing import Any, Literal

from encryptdb.controller.preflight.text import listed
from encryptdb.stacks.contract.errors import Failed, Problem, Refused

Severity = Literal["blocks", "warns", "ok"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to say.

    `remedy` is to be pasted: SQL for `side` and `database` (None: any database), a shell command, or words where
    there is neither. `silent` marks a server, or AWS, that could not be asked: a failure rather than a refusal.
    """

    severity: Severity
    found: str
    needed: str
    remedy: str | None = None
    side: str | None = None
    database: str | None = None
    silent: bool = False
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": self.severity,
            "side": self.side,
            "database": self.database,
            "found": self.found,
            "needed": self.needed,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        place = ", ".join(p for p in (self.side, f"database {self.database!r}" if self.database else None) if p)
        text = f"{self.severity}: {self.name}{f' ({place})' if place else ''}: {self.found} Needed: {self.needed}"
        if self.remedy:
            text += "\n    remedy: " + self.remedy.replace("\n", "\n            ")
        return text


@dataclass(frozen=True)
class Report:
    """Everything preflight found. `passed` are checks with nothing to say, `unestablished` those that could not be
    made because a server, a database or AWS did not answer. A check that does not belong to the stage is in neither."""

    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    unestablished: tuple[str, ...]
    databases: tuple[str, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == severity)

    @property
    def blocked(self) -> bool:
        return bool(self.of("blocks"))

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [f.to_json() for f in self.findings],
            "blocks": len(self.of("blocks")),
            "warns": len(self.of("warns")),
            "passed": list(self.passed),
            "unestablished": list(self.unestablished),
            "databases": list(self.databases),
        }

    def raise_if_blocked(self) -> None:
        """Raise PreflightFailed where something did not answer, PreflightRefused where something else blocks."""
        if any(f.silent and f.severity == "blocks" for f in self.findings):
            raise PreflightFailed(self)
        if self.blocked:
            raise PreflightRefused(self)


def _words(report: Report) -> tuple[str, str, str]:
    blocking = report.of("blocks")
    silent = [f for f in blocking if f.silent]
    count = f"{len(blocking)} problem{'s' if len(blocking) > 1 else ''}"
    first = f"{silent[0].found} Preflight" if silent else "Preflight"
    detail = "\n".join(str(f) for f in blocking)
    if report.unestablished:
        detail += f"\nNot established, because something did not answer: {listed(report.unestablished)}."
    hint = (silent[0].remedy if silent else None) or "Apply each remedy, then run preflight again."
    return f"{first} found {count} that must be solved first.", detail, hint


class PreflightRefused(Refused):
    """Preflight found something that makes going on unsafe. `document` is the whole report for `--json`."""

    def __init__(self, report: Report) -> None:
        message, detail, hint = _words(report)
        super().__init__(message, detail=detail, hint=hint)
        self.document = report.to_json()


class PreflightFailed(Failed):
    """A server, or AWS, did not answer preflight. `document` is the whole report for `--json`."""

    def __init__(self, report: Report) -> None:
        message, detail, hint = _words(report)
        super().__init__(message, detail=detail, hint=hint)
        self.document = report.to_json()


def problem_text(problem: Problem) -> str:
    """A Problem as one sentence or two."""
    detail = f" {problem.detail.rstrip('.')}." if problem.detail else ""
    return problem.message + detail
