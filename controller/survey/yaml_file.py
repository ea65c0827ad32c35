"""The file of a new stack, as text: what was found, each line with a comment that says why. Pure."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from encryptdb.controller.survey.found import Found
from encryptdb.controller.survey.proposal import Proposal, Switch

WIDTH = 118

_PLAIN = re.compile(r"[A-Za-z](?:[\w./-]*\w)?|[1-9][0-9]*d", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
"""Not strings, to one YAML reader or another."""


def text(found: Found, proposal: Proposal) -> str:
    """The whole file, ending with a newline."""
    return "\n".join(line.rstrip() for line in _lines(found, proposal)) + "\n"


def _lines(found: Found, proposal: Proposal) -> Iterator[str]:
    source = found.source
    yield from _comment(
        f"The stack {found.stack}: encrypts {source.words.what} {source.identifier}. Written by "
        "`python -m controller init` from what AWS says. Commented out: defaults, and what there is to choose from. "
        "Read it, then: pulumi up",
        "",
    )
    yield "config:"
    yield from _entry("aws:region", found.region, "The region that was asked.")
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
    yield from _entry("encryptdb:rollbackWindow", "7d", "How long the rollback path stays open.", active=False)
    again = "A second try, after `controller abandon`: 2. Nothing of the first is met."
    yield from _entry("encryptdb:attempt", 1, again, active=False)
    yield ""
    yield from _comment("Could not be seen:", "")
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
        yield from _comment(f"What names {address} and is moved in the cutover, in this order.")
        yield "  encryptdb:switches:"
    else:
        yield from _comment(
            f"Nothing was found that names {address} and that a switch could move (what could not be seen is below). "
            "Without a switch it is up to you to move the applications."
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
        "The target is made as the source is now; one of these makes it different."
        + (f" As many instances as {source.identifier} has ({len(source.classes)})." if source.members else "")
    )
    yield from _entry("encryptdb:instanceClass", source.classes[0], active=False)
    if not source.members:
        # Neither a cluster nor the file's reader has a use for it.
        yield from _entry("encryptdb:multiAz", source.multi_az, active=False)
    yield from _entry("encryptdb:logExports", list(source.log_exports), active=False)
    yield from _entry("encryptdb:publiclyAccessible", source.public, active=False)


def _entry(key: str, value: Any, why: str = "", *, active: bool = True) -> Iterator[str]:
    if why:
        yield from _comment(why)
    yield f"  {'' if active else '# '}{key}: {_value(value)}"


def _comment(words: str, indent: str = "  ", after: str = "") -> Iterator[str]:
    """Comment lines. Whatever AWS's words hold, they stay in the comment."""
    clean = "".join(c if c.isprintable() else " " for c in words)
    yield from textwrap.wrap(
        clean,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# {after}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, bool | int):
        return str(value).lower()
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return str(value)
    return '"' + "".join(_escaped(c) for c in value) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
