"""The commands that remove the stack and leave in AWS what the target uses. Pure."""

from encryptdb.controller.adopt.found import Found
from encryptdb.stacks.cloud.words import WORDS
from encryptdb.stacks.contract import names

FORGET = """\
pulumi stack export --stack {stack} |
  python3 -c '
import json, sys
for resource in reversed(json.load(sys.stdin)["deployment"]["resources"]):
    name = resource["urn"].split("::")[-1]
    if {condition}:
        print(resource["urn"])' |
  while read -r urn; do
    pulumi state delete "$urn" --stack {stack} --force --yes </dev/null || exit
  done"""
"""Removes the adopted resources from the stack's state, dependents first. Nothing is sent to AWS."""


def forget(found: Found) -> str:
    """The command that removes from the state the target, its members, its parameter group if this stack made it, and
    the targets of earlier attempts, which are protected as well."""
    condition = 'name.startswith("target-")'
    if not found.groups:
        condition += ' and name != "target-parameters"'
    return FORGET.format(stack=found.outputs.stack, condition=condition)


def free_source_group(found: Found) -> tuple[str, str] | None:
    """Why the source's parameter group cannot be deleted yet, and the commands for it; None if nothing uses it."""
    outputs, group = found.outputs, found.source_group
    if group is None or not found.source or group.tags.get(names.STACK) != outputs.stack:
        return None
    source, words = found.source[0], WORDS[outputs.engine]
    if source.group != group.name:
        return None
    why = (
        f"The source {source.identifier} still uses the parameter group {group.name}, which is deleted with the stack: "
        "AWS refuses to delete a group that is in use. Attach the one that your own code has for the source (it takes "
        "effect at the next reboot), or delete the source first."
    )
    delete = f"encryptdb retire --stack {outputs.stack} --delete-source {source.identifier}"
    return why, f"{words.attach(source.identifier, 'THE_GROUP_IT_HAD')}\n# or\n{delete}"


def remove(found: Found) -> str:
    """The commands that delete what the stack still has, the stack itself, and its file."""
    stack = found.outputs.stack
    return f"pulumi destroy --yes --stack {stack}\npulumi stack rm {stack} --yes\ngit rm stacks/Pulumi.{stack}.yaml"
