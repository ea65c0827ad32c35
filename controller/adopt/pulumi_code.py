"""The resources to import as a Pulumi program in Python. Pure."""

import json

from encryptdb.controller.adopt.resources import Ref, Resource, variable
from encryptdb.controller.engines import Block, Value

CLASSES = {
    "instance": "Instance",
    "cluster": "Cluster",
    "member": "ClusterInstance",
    "parameter-group": "ParameterGroup",
    "cluster-parameter-group": "ClusterParameterGroup",
}
"""Of pulumi_aws.rds."""


def write(resources: tuple[Resource, ...]) -> str:
    """The whole program."""
    return "\n".join(["import pulumi", "import pulumi_aws as aws", *(f"\n{_resource(r)}" for r in resources)]) + "\n"


def _resource(resource: Resource) -> str:
    lines = [f"# {note}" for note in resource.notes]
    lines += [f"{variable(resource.name)} = aws.rds.{CLASSES[resource.kind]}(", f"    {_text(resource.name)},"]
    lines += [f"    {argument}={_value(value)}," for argument, value in resource.arguments]
    if resource.repeated:
        lines.append("    parameters=[")
        for name, value, method in resource.repeated:
            parts = f'"name": {_text(name)}, "value": {_text(value)}, "apply_method": {_text(method)}'
            lines.append(f"        {{{parts}}},")
        lines.append("    ],")
    lines.append("    tags={")
    lines += [f"        {_text(key)}: {_text(value)}," for key, value in resource.tags]
    lines.append("    },")
    lines += [
        "    opts=pulumi.ResourceOptions(",
        f"        import_={_text(resource.identity)},",
        "        protect=True,",
        "    ),",
        ")",
    ]
    return "\n".join(lines)


def _value(value: Value | Block | Ref) -> str:
    if isinstance(value, Ref):
        return f"{variable(value.resource.name)}.{value.attribute}"
    if isinstance(value, Block):
        return "{" + ", ".join(f"{_text(name)}: {_value(part)}" for name, part in value.parts) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    # JSON's escapes are Python's, too.
    return json.dumps(value)
