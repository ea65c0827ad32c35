"""The file of a new stack as text: each value with a comment that says why. Pure.

Defaults and alternatives are commented-out lines, which no YAML writer has: the lines are composed here, the values are
PyYAML's.
"""

import math
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml  # type: ignore[import-untyped]

from encryptdb.controller.init.found import Found
from encryptdb.controller.init.proposal import Proposal, Switch

WIDTH = 118


def text(found: Found, proposal: Proposal) -> str:
    """The whole file, ending with a newline."""
    return "\n".join(line.rstrip() for line in _lines(found, proposal)) + "\n"


def _lines(found: Found, proposal: Proposal) -> Iterator[str]:
    source = found.source
    yield from _comment(
        f"The stack {found.stack}: encrypts {source.words.what} {source.identifier}. Written by "
        "`encryptdb init` from what AWS says. Commented out: defaults and alternatives. Review it, then: "
        f"pulumi up --stack {found.stack}",
        "",
    )
    yield "config:"
    yield from _entry("aws:region", found.region, "The region of the source.")
    yield ""
    engine = f"{source.engine} {source.engine_version}, {'encrypted' if source.encrypted else 'not encrypted'}"
    classes = ", ".join(source.classes)
    yield from _entry("encryptdb:source", source.identifier, f"{source.words.what[4:]}: {engine}, {classes}")
    yield ""
    order = "prepare → (controller prepare) → restore → (controller replicate, cutover, retire) → retire"
    yield from _entry("encryptdb:phase", "prepare", order)
    yield ""
    yield from _key(proposal)
    yield ""
    yield from _switches(found, proposal)
    yield ""
    secret = source.master_secret
    arn = f"arn:aws:secretsmanager:{found.region}:ACCOUNT:secret:NAME"
    yield from _entry("encryptdb:sourceSecret", secret or arn, proposal.login, active=bool(secret))
    yield ""
    yield from _entry("encryptdb:auth", "password", proposal.auth, active=False)
    yield ""
    yield from _entry("encryptdb:parameterGroup", "manage", proposal.groups, active=False)
    yield ""
    yield from _copied(found)
    yield ""
    yield from _entry("encryptdb:rollbackWindow", "7d", "How long the rollback path is kept.", active=False)
    again = "2 for a second attempt, after `controller abandon`: its snapshots and target get names of their own."
    yield from _entry("encryptdb:attempt", 1, again, active=False)
    yield ""
    yield from _comment("Could not be read:", "")
    for what, why in proposal.unseen:
        yield from _comment(f"- {what}. {why}", "", after="  ")


def _key(proposal: Proposal) -> Iterator[str]:
    key = proposal.key
    for why in key.why:
        yield from _comment(why)
    for choice in key.choices:
        yield from _entry("encryptdb:kmsKey", choice, active=False)
    if key.value:
        yield from _entry("encryptdb:kmsKey", key.value)
    elif not key.choices:
        yield from _entry("encryptdb:kmsKey", "alias/NAME", active=False)


def _switches(found: Found, proposal: Proposal) -> Iterator[str]:
    address = f"{found.source.host}:{found.source.port}"
    if proposal.switches:
        yield from _comment(f"What points to {address} and is changed in the cutover, in this order.")
        yield "  encryptdb:switches:"
    else:
        yield from _comment(
            f"Nothing was found that points to {address} and that a switch could change (what could not be read is "
            "below). Without a switch you change the applications' configuration yourself."
        )
        yield "  # encryptdb:switches: []"
    for switch in proposal.switches:
        yield from _switch(switch)
    for thing in proposal.by_hand:
        yield from _comment(f"No switch: {thing}", after="  ")


def _switch(switch: Switch) -> Iterator[str]:
    for words in (switch.why, *switch.warnings):
        yield from _comment(words, "    ")
    for number, (key, value) in enumerate(switch.document.items()):
        yield f"    {'  ' if number else '- '}{key}: {_value(value)}"


def _copied(found: Found) -> Iterator[str]:
    source = found.source
    yield from _comment(
        "The target is created like the source; one of these makes it different."
        + (f" As many instances as {source.identifier} has ({len(source.classes)})." if source.members else "")
    )
    yield from _entry("encryptdb:instanceClass", source.classes[0], active=False)
    if not source.members:
        # A cluster has no such setting.
        yield from _entry("encryptdb:multiAz", source.multi_az, active=False)
    yield from _entry("encryptdb:logExports", list(source.log_exports), active=False)
    yield from _entry("encryptdb:publiclyAccessible", source.public, active=False)


def _entry(key: str, value: Any, why: str = "", *, active: bool = True) -> Iterator[str]:
    if why:
        yield from _comment(why)
    yield f"  {'' if active else '# '}{key}: {_value(value)}"


def _comment(words: str, indent: str = "  ", after: str = "") -> Iterator[str]:
    """Comment lines. Line breaks in AWS's messages cannot end the comment."""
    clean = "".join(c if c.isprintable() else " " for c in words)
    yield from textwrap.wrap(
        clean,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# {after}",
        break_long_words=False,
        break_on_hyphens=False,
    )


class _OneLine(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes a string with a line break so that it stays on its line."""


def _string(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_OneLine.add_representer(str, _string)


def _value(value: Any) -> str:
    """A value as YAML on one line."""
    # As a list of one: a scalar alone would get an end-of-document marker.
    line = yaml.dump([value], Dumper=_OneLine, default_flow_style=True, sort_keys=False, width=math.inf)
    return str(line).strip()[1:-1]
