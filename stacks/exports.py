"""The contract's keys as stack outputs, one each, so that `pulumi stack output KEY` works for every one of them."""

import dataclasses
import re

import pulumi

from encryptdb.stacks.contract.outputs import Outputs


def export(document: pulumi.Output[dict[str, object]]) -> None:
    """Export every key of the contract; a key whose value is not there yet is `null`, never absent."""
    for field in dataclasses.fields(Outputs):
        key = re.sub(r"_(\w)", lambda found: found.group(1).upper(), field.name)
        pulumi.export(key, document.apply(lambda d, key=key: d[key]))  # type: ignore[misc]
