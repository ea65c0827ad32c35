"""What goes into the two parameter groups. Pure: parameters in, parameters out."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from encryptdb.stacks.cloud.reads import Parameter


@dataclass(frozen=True)
class Setting:
    """One parameter as the group declares it. A static one acts at the next reboot, never before."""

    name: str
    value: str
    static: bool

    @property
    def apply_method(self) -> str:
        return "pending-reboot" if self.static else "immediate"


SWITCHED_ON = ("rds.logical_replication", "track_commit_timestamp")
"""Booleans of RDS are 0 and 1. Both are static."""

AT_LEAST: Mapping[str, int] = {
    # One slot per database each way, one to read the proof with, and the owner's own. Pulumi does not know how many
    # databases there are; `controller preflight` does, and says so where these do not suffice.
    "max_replication_slots": 30,
    "max_wal_senders": 35,
    "max_logical_replication_workers": 25,
    # Logical workers come out of this pool, and so do parallel queries.
    "max_worker_processes": 40,
}
"""Static, too. A server that has more keeps what it has."""

QUIET: Mapping[str, str] = {"log_statement": "none", "log_min_duration_statement": "-1", "pgaudit.log": "none"}
"""Values with which CREATE SUBSCRIPTION, and the password in it, does not end up in the server log.

They stand on the target until `retire`, in place of the source's own, which come back then.
"""

_FORMULA = re.compile(r"GREATEST\((?P<rest>[^()]*),(?P<floor>\d+)\)", re.IGNORECASE | re.ASCII)


def for_source(current: Iterable[Parameter]) -> tuple[Setting, ...]:
    """The source's own settings with what logical replication needs.

    `current` is the group that is attached now. Once that is the group made here, it holds the same settings already,
    so that the answer stays the same.
    """
    known = {p.name: p for p in current}
    settings = {p.name: Setting(p.name, p.value, p.static) for p in known.values() if p.user and p.value is not None}
    for name in SWITCHED_ON:
        settings[name] = Setting(name, "1", static=True)
    for name, floor in AT_LEAST.items():
        settings[name] = Setting(name, at_least(known[name].value if name in known else None, floor), static=True)
    return _sorted(settings)


def for_target(source: Iterable[Setting]) -> tuple[Setting, ...]:
    """The source's settings, but quiet."""
    return _sorted({s.name: Setting(s.name, QUIET.get(s.name, s.value), s.static) for s in source})


def quieted(source: Iterable[Setting]) -> dict[str, str]:
    """What `for_target` took away, to be given back in `retire`."""
    return {s.name: s.value for s in source if s.name in QUIET and s.value != QUIET[s.name]}


def as_it_is(group: Iterable[Parameter], restored: Mapping[str, str] | None = None) -> tuple[Setting, ...]:
    """What somebody set in a group, with values given back to it."""
    settings = {p.name: Setting(p.name, p.value, p.static) for p in group if p.user and p.value is not None}
    for name, value in (restored or {}).items():
        settings[name] = Setting(name, value, name in settings and settings[name].static)
    return _sorted(settings)


def at_least(value: str | None, floor: int) -> str:
    """`value` raised to `floor`. An RDS formula stays one, since only RDS knows what it comes to."""
    text = (value or "").strip()
    if not text:
        return str(floor)
    if re.fullmatch(r"\d+", text, re.ASCII):
        return str(max(int(text), floor))
    formula = _FORMULA.fullmatch(text)
    if formula:
        return f"GREATEST({formula['rest']},{max(int(formula['floor']), floor)})"
    return f"GREATEST({text},{floor})"


def to_tag(values: Mapping[str, str]) -> str:
    """Settings as the value of a tag. Tags may hold neither commas nor quotes; none of these values does."""
    return " ".join(f"{name}={value}" for name, value in sorted(values.items()))


def from_tag(text: str) -> dict[str, str]:
    """Settings back from the value of a tag."""
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


def family(engine: str, engine_version: str) -> str:
    """The parameter group family: `postgres15`, `aurora-postgresql15`, and before version 10 `postgres9.6`."""
    parts = engine_version.split(".")
    return engine + (".".join(parts[:2]) if parts[0] == "9" else parts[0])


def _sorted(settings: Mapping[str, Setting]) -> tuple[Setting, ...]:
    return tuple(settings[name] for name in sorted(settings))
