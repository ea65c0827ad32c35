"""From a DB parameter group to postgresql.conf. Pure: no file, no server, no AWS.

RDS applies static parameters at a reboot only, and dynamic ones at once or at a reboot, as the group's user chose
(ApplyMethod). Whether a parameter is static is what PostgreSQL itself says (`postgres --describe-config`, context
"postmaster").
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

ApplyMethod = Literal["immediate", "pending-reboot"]


@dataclass(frozen=True)
class Parameter:
    """One parameter as DescribeDBParameters shows it. `default` is the engine's; `allowed` a range or ''."""

    name: str
    static: bool
    kind: Literal["boolean", "enum", "integer", "real", "string"]
    default: str
    allowed: str
    description: str
    modifiable: bool = True


@dataclass(frozen=True)
class Setting:
    """A value that a user gave a parameter in a group."""

    value: str
    method: ApplyMethod


# What the lab itself decides, as RDS does for its own machinery: where the server listens, logs and keeps its files.
RESERVED = frozenset(
    [
        "archive_cleanup_command",
        "archive_command",
        "archive_library",
        "archive_mode",
        "cluster_name",
        "config_file",
        "data_directory",
        "external_pid_file",
        "fsync",
        "full_page_writes",
        "hba_file",
        "ident_file",
        "listen_addresses",
        "log_destination",
        "log_directory",
        "log_file_mode",
        "log_filename",
        "log_line_prefix",
        "log_timezone",
        "logging_collector",
        "port",
        "primary_conninfo",
        "recovery_end_command",
        "recovery_target",
        "restore_command",
        "ssl",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_library",
        "unix_socket_directories",
        "unix_socket_group",
        "unix_socket_permissions",
        "wal_level",
    ]
)

RDS_OWN = (
    Parameter("rds.force_ssl", False, "boolean", "1", "0,1", "Force SSL connections."),
    Parameter("rds.log_retention_period", False, "integer", "4320", "1440-10080", "Minutes for which logs are kept."),
    Parameter("rds.logical_replication", True, "boolean", "0", "0,1", "Enables logical decoding."),
    Parameter("rds.restrict_password_commands", True, "boolean", "0", "0,1", "Restricts password-related commands."),
)

# RDS's own values where they differ from PostgreSQL's and matter here, and lean ones: many servers share one small
# machine. fsync is off because nothing in the lab can lose the page cache without losing the lab: the freeze-copy reads
# through it, and a killed server's writes stay in it. full_page_writes stays on: the copy's recovery relies on it.
SYSTEM: Mapping[str, str] = {
    "autovacuum_naptime": "15",
    "fsync": "off",
    "log_checkpoints": "on",
    "log_directory": "log/error",
    "log_file_mode": "0600",
    "log_filename": "postgresql.log.%Y-%m-%d-%H",
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",
    "log_rotation_age": "60",
    "log_rotation_size": "0",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "max_connections": "200",
    "max_logical_replication_workers": "8",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_wal_size": "512",
    "min_wal_size": "64",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "16384",
    "timezone": "UTC",
    "unix_socket_directories": "",
}

# "{DBInstanceClassMemory/9531392}", "GREATEST(…)": the lab's machine is not the instance class, so formulas are not
# evaluated and the lean value stays.
FORMULA = re.compile(r"^\s*(\{|GREATEST\(|LEAST\(|SUM\()", re.IGNORECASE)

TRUE, FALSE = {"1", "on", "true", "yes"}, {"0", "off", "false", "no"}


class BadValue(ValueError):
    """A value that RDS would refuse; the message is RDS's kind of sentence."""


class BadMethod(BadValue):
    """An apply method that RDS would refuse for this parameter."""


def catalog(described: str) -> dict[str, Parameter]:
    """Read `postgres --describe-config`: name, context, group, type, default, minimum, maximum, descriptions."""
    found = {p.name: p for p in RDS_OWN}
    for line in described.splitlines():
        fields = line.split("\t")
        if len(fields) < 8 or fields[1] == "internal":
            continue
        name, context, _, kind, default, low, high, description, *_ = fields
        found[name] = Parameter(
            name=name,
            static=context == "postmaster",
            kind=_kind(kind),
            default=default,
            allowed="0,1" if kind == "BOOLEAN" else f"{low}-{high}" if low else "",
            description=description,
            modifiable=name not in RESERVED,
        )
    return found


def _kind(word: str) -> Literal["boolean", "enum", "integer", "real", "string"]:
    kinds: tuple[Literal["boolean", "enum", "integer", "real"], ...] = ("boolean", "enum", "integer", "real")
    for kind in kinds:
        if word.lower() == kind:
            return kind
    return "string"


def check(known: Mapping[str, Parameter], name: str, value: str, method: str) -> Setting:
    """The setting, or BadValue with the reason. A dotted name is an extension's and taken as it is."""
    parameter = known.get(name)
    if parameter is None:
        if "." not in name:
            raise BadValue(f"Could not find parameter with name: {name}")
        return Setting(value, _method(method))
    if not parameter.modifiable:
        raise BadValue(f"The parameter {name} cannot be modified.")
    if parameter.static and method == "immediate":
        raise BadMethod(f"cannot use immediate apply method for static parameter: {name}")
    if not FORMULA.match(value) and not _fits(parameter, value):
        raise BadValue(f"Invalid parameter value: {value} for: {name} allowed values are: {parameter.allowed}")
    return Setting(value, _method(method))


def _method(word: str) -> ApplyMethod:
    if word not in ("immediate", "pending-reboot"):
        raise BadValue(f"Invalid apply method: {word}")
    return word  # type: ignore[return-value]


def _fits(parameter: Parameter, value: str) -> bool:
    if parameter.kind == "boolean":
        return value.lower() in TRUE | FALSE
    if parameter.kind not in ("integer", "real") or not parameter.allowed:
        return True
    low, high = re.match(r"(-?[^-]+)-(.+)", parameter.allowed).groups()  # type: ignore[union-attr]
    try:
        number = float(int(value, 0)) if parameter.kind == "integer" else float(value)
    except ValueError:
        return False
    return float(low) <= number <= float(high)


def effective(group: Mapping[str, Setting]) -> dict[str, str]:
    """What a server gets that starts with this group: system values under the user's."""
    values = dict(SYSTEM) | {name: s.value for name, s in group.items() if not FORMULA.match(s.value)}
    logical = values.get("rds.logical_replication", "0").lower() in TRUE
    return values | {
        "wal_level": "logical" if logical else "replica",
        "rds.logical_replication": "on" if logical else "off",
    }


def reloaded(
    known: Mapping[str, Parameter], running: Mapping[str, str], group: Mapping[str, Setting]
) -> dict[str, str]:
    """What a server that runs with `running` gets when its group changes: what may apply at once.

    Everything else stays as it was at the last start.
    """
    wanted = effective(group)
    values = dict(running)
    for name in running.keys() | wanted.keys():
        if _waits(known, name, group):
            continue
        if name in wanted:
            values[name] = wanted[name]
        else:
            values.pop(name, None)
    return values


def pending(running: Mapping[str, str], group: Mapping[str, Setting]) -> list[str]:
    """The parameters whose value in the group is not the running one: they need a reboot. Sorted."""
    wanted = effective(group)
    return sorted(n for n in running.keys() | wanted.keys() if running.get(n) != wanted.get(n) and n != "wal_level")


def _waits(known: Mapping[str, Parameter], name: str, group: Mapping[str, Setting]) -> bool:
    parameter = known.get(name)
    static = name == "wal_level" or (parameter is not None and parameter.static)
    return static or (name in group and group[name].method == "pending-reboot")


def render(values: Mapping[str, str]) -> str:
    """A postgresql.conf."""
    return "".join(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in sorted(values.items()))


def from_moto(parameters: Iterable[Mapping[str, object]]) -> dict[str, Setting]:
    """The user-set parameters of a moto parameter group, which keeps them as ModifyDBParameterGroup received them."""
    return {
        str(p["ParameterName"]): Setting(str(p["ParameterValue"]), _method(str(p.get("ApplyMethod", "pending-reboot"))))
        for p in parameters
        if p.get("ParameterValue") is not None
    }
