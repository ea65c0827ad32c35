"""In what the target differs from the source: both values, and what sets them. Pure."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from encryptdb.controller.adopt.found import Found
from encryptdb.controller.engines import Block, ParameterGroup, ServerSettings, Setting, Value
from encryptdb.stacks.contract import names

NEEDED = frozenset(
    {
        "rds.logical_replication",
        "track_commit_timestamp",
        "max_replication_slots",
        "max_wal_senders",
        "max_logical_replication_workers",
        "max_worker_processes",
    }
)
"""Parameters that replication needed and the source's own group may not have: listed separately, not compared."""


RENAMING = (
    "only if you want the source's name, and once the source no longer has it. Renaming restarts the server, and "
    "changes its host, its log groups and what section 3 suggests. Rename before the import"
)


@dataclass(frozen=True)
class Difference:
    """One setting of one server: both values as text, and the command that gives the target the source's value.
    `argument` is None if neither Pulumi nor Terraform has one, `command` if there is none."""

    server: str
    title: str
    source: str
    target: str
    argument: str | None
    command: str | None
    note: str | None = None


def differences(found: Found) -> tuple[Difference, ...]:
    """Every difference; none for a side that could not be read."""
    pairs = list(_pairs(found.source, found.target))
    listed = [d for source, target in pairs for d in _of(source, target)]
    if found.source and found.target:
        listed += _count(found.source, found.target)
        listed += _replicas(found.source[0], found.target[0])
    if found.source_group and found.target_group:
        listed += _parameters(found.source_group, found.target_group)
    return tuple(listed)


def still_raised(found: Found) -> tuple[str, ...]:
    """Parameters of the adopted groups that were set for replication."""
    return tuple(p.name for g in found.groups for p in g.parameters if p.name in NEEDED)


def _pairs(
    source: tuple[ServerSettings, ...], target: tuple[ServerSettings, ...]
) -> Iterator[tuple[ServerSettings, ServerSettings]]:
    """The server with the server, the writer with the writer, each reader with the reader in the same position."""
    return zip(source, target, strict=False)


def _of(source: ServerSettings, target: ServerSettings) -> Iterator[Difference]:
    for before, now in zip(source.settings, target.settings, strict=True):
        if before.value == now.value:
            continue
        option = option_for(before, now)
        command = target.modify(*option, "--apply-immediately") if option else None
        yield Difference(
            target.identifier,
            before.title,
            words(before.value),
            words(now.value),
            before.argument,
            command,
            RENAMING if before.title == "identifier" else None,
        )
    yield from _tags(source, target)


def option_for(wanted: Setting, now: Setting) -> tuple[str, ...] | None:
    """The option that gives the target the wanted value; None if there is none."""
    name, value = wanted.option, wanted.value
    if name == "--cloudwatch-logs-export-configuration":
        before, after = _texts(wanted.value), _texts(now.value)
        change = {"EnableLogTypes": sorted(before - after), "DisableLogTypes": sorted(after - before)}
        return (name, shlex.quote(json.dumps({k: v for k, v in change.items() if v})))
    if name is None:
        return None
    if isinstance(value, bool) or isinstance(now.value, bool):
        return (name if value else name.replace("--", "--no-", 1),)
    if value is None:
        return None
    if isinstance(value, Block):
        return (name, value.shorthand)
    if isinstance(value, tuple):
        return (name, *value) if value else None
    return (name, shlex.quote(str(value)))


def _texts(value: Value | Block) -> set[str]:
    return set(value) if isinstance(value, tuple) else set()


def words(value: Value | Block) -> str:
    """A value as text."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Block):
        return ", ".join(f"{name} {part}" for name, part in value.parts)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _tags(source: ServerSettings, target: ServerSettings) -> Iterator[Difference]:
    """Tags that only one side has or that differ, without this stack's own."""
    mine = names.owners(source.tags)
    theirs = names.owners(target.tags)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) == theirs.get(key):
            continue
        if key in mine:
            tag = shlex.quote(json.dumps([{"Key": key, "Value": mine[key]}]))
            command = f"aws rds add-tags-to-resource --resource-name {target.arn} --tags {tag}"
        else:
            command = f"aws rds remove-tags-from-resource --resource-name {target.arn} --tag-keys {shlex.quote(key)}"
        yield Difference(target.identifier, f"tag {key}", words(mine.get(key)), words(theirs.get(key)), "tags", command)


def _count(source: tuple[ServerSettings, ...], target: tuple[ServerSettings, ...]) -> Iterator[Difference]:
    if len(source) != len(target):
        counts = (str(len(source) - 1), str(len(target) - 1))
        yield Difference(target[0].identifier, "instances of the cluster", *counts, None, None)


def _replicas(source: ServerSettings, target: ServerSettings) -> Iterator[Difference]:
    """A restored copy has no replicas."""
    if not source.replicas or len(source.replicas) == len(target.replicas):
        return
    command = (
        "aws rds create-db-instance-read-replica --db-instance-identifier NAME "
        f"--source-db-instance-identifier {target.identifier}"
        if target.kind == "instance"
        else f"aws rds create-db-cluster --db-cluster-identifier NAME --replication-source-identifier {target.arn} …"
    )
    yield Difference(target.identifier, "read replicas", words(source.replicas), words(target.replicas), None, command)


def _parameters(source: ParameterGroup, target: ParameterGroup) -> Iterator[Difference]:
    before, now = ({p.name: p for p in group.parameters} for group in (source, target))
    for name in sorted((before.keys() | now.keys()) - NEEDED):
        wanted, has = before.get(name), now.get(name)
        if (wanted.value if wanted else None) == (has.value if has else None):
            continue
        verb = "modify" if wanted else "reset"
        known = wanted or has
        assert known is not None, "it is in one of the two"
        setting = {"ParameterName": name, "ApplyMethod": known.method}
        if wanted:
            setting["ParameterValue"] = wanted.value
        command = (
            f"aws rds {verb}-db-{target.noun} --db-{target.noun}-name {target.name} "
            f"--parameters {shlex.quote(json.dumps([setting]))}"
        )
        yield Difference(
            target.name,
            f"parameter {name}",
            wanted.value if wanted else "the engine's default",
            has.value if has else "the engine's default",
            "parameters",
            command,
        )
