"""Reads what `adopt` prints: both servers, their parameter groups, and what in AWS refers to the source."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from encryptdb.controller.adopt.found import Found, Reference, Unseen
from encryptdb.controller.adopt.references import Old, find
from encryptdb.controller.engines import ServerSettings
from encryptdb.controller.migration import Migration
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Failed, Problem
from encryptdb.stacks.contract.outputs import Outputs

T = TypeVar("T")


def read(m: Migration) -> Found:
    """What was found. Raises Failed if the target cannot be read."""
    outputs, unseen = m.outputs, list[Unseen]()
    target = _target(m)
    source = _attempt(lambda: _source(m), f"the source {outputs.source.identifier}", unseen)
    found = Found(
        outputs=outputs,
        target=target,
        source=source or (),
        source_seen=source is not None,
    )
    found = _groups(m, found, unseen)
    earlier = _attempt(lambda: _earlier(m, target), "targets of earlier attempts", unseen)
    references: tuple[Reference, ...] = ()
    if target:
        references, refused = find(
            m.aws, old_of(found, _log_groups(m, outputs.source.identifier), _log_groups(m, target[0].identifier))
        )
        unseen += refused
    return replace(found, earlier=earlier or (), references=references, unseen=tuple(unseen))


def _attempt(ask: Callable[[], T], what: str, unseen: list[Unseen]) -> T | None:
    try:
        return ask()
    except Problem as problem:
        unseen.append(Unseen(what, problem.detail or problem.message, problem.hint))
        return None


def _target(m: Migration) -> tuple[ServerSettings, ...]:
    if m.outputs.target is None:
        return ()
    found = m.engine.servers(m.outputs.target.resource_id)
    if not found:
        raise Failed(
            f"The target {m.outputs.target.identifier} does not exist.",
            detail=f"There is no {m.engine.words.noun} with the resource id {m.outputs.target.resource_id} "
            f"in {m.outputs.region}.",
            hint=f"Check the region and the account: pulumi stack output --json --stack {m.outputs.stack}",
        )
    return found


def _source(m: Migration) -> tuple[ServerSettings, ...]:
    if not m.outputs.source.resource_id:
        raise Failed("The stack's outputs have no resource id of the source.")
    return m.engine.servers(m.outputs.source.resource_id)


def _groups(m: Migration, found: Found, unseen: list[Unseen]) -> Found:
    """The parameter groups in use on both sides. The target's is to be imported only if this stack made it, which its
    tag shows."""
    if not found.target:
        return found
    in_use = found.target[0].group
    target = _attempt(lambda: m.engine.parameter_group(in_use), f"the parameter group {in_use}", unseen)
    name = found.source[0].group if found.source else m.outputs.source_parameter_group
    source = None
    if name:
        source = _attempt(lambda: m.engine.parameter_group(name), f"the parameter group {name}", unseen)
    made = (target,) if target is not None and target.tags.get(names.STACK) == m.outputs.stack else ()
    return replace(found, groups=made, target_group=target, source_group=source)


def _earlier(m: Migration, target: tuple[ServerSettings, ...]) -> tuple[str, ...]:
    mine = {s.identifier for s in target}
    tagged = m.engine.tagged(m.outputs.stack)
    return tuple(s.identifier for s in tagged if s.identifier not in mine and s.kind != "member")


def _log_groups(m: Migration, identifier: str) -> str:
    return f"/aws/rds/{m.engine.words.noun}/{identifier}/"


def old_of(found: Found, log_groups: str, target_log_groups: str) -> Old:
    """The names of the source, and what replaces each. Pure."""
    outputs, target = found.outputs, found.target
    known = tuple(s.identifier for s in found.source) or (outputs.source.identifier, *(outputs.source.members or ()))
    hosts = tuple(h for s in found.source for h in s.hosts) or _hosts(outputs)
    prefix, _, _ = target[0].arn.rpartition(":")
    return Old(
        identifier=known[0],
        identifiers=known,
        resource_id=outputs.source.resource_id,
        arn=found.source[0].arn if found.source else f"{prefix}:{outputs.source.identifier}",
        hosts=hosts,
        cluster=target[0].kind == "cluster",
        log_groups=log_groups,
        target=target[0].identifier,
        target_resource_id=target[0].resource_id,
        target_arn=target[0].arn,
        target_hosts=tuple(h for s in target for h in s.hosts),
        target_log_groups=target_log_groups,
    )


def _hosts(outputs: Outputs) -> tuple[str, ...]:
    """The source's hosts. In phase `retire` the outputs have none; AWS's names differ from the target's in the first
    label only."""
    told = tuple(h for h in (outputs.source.host, outputs.source.reader_host) if h)
    if told or outputs.target is None:
        return told
    new = (outputs.target.host or "", outputs.target.reader_host or "")
    aws = [h for h in new if ".rds.amazonaws.com" in h and h.startswith(f"{outputs.target.identifier}.")]
    return tuple(outputs.source.identifier + h.removeprefix(outputs.target.identifier) for h in aws)
