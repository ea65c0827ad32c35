"""The resources to import as Terraform configuration: `import` blocks (Terraform 1.5 and later) and resources. Pure."""

import json

from encryptdb.controller.adopt.resources import Ref, Resource, variable
from encryptdb.controller.engines import Block, Value

TYPES = {
    "instance": "aws_db_instance",
    "cluster": "aws_rds_cluster",
    "member": "aws_rds_cluster_instance",
    "parameter-group": "aws_db_parameter_group",
    "cluster-parameter-group": "aws_rds_cluster_parameter_group",
}


def write(resources: tuple[Resource, ...]) -> str:
    """The whole file, laid out as `terraform fmt` does."""
    return "\n\n".join(part for r in resources for part in (_import(r), _resource(r))) + "\n"


def _import(resource: Resource) -> str:
    return "\n".join(["import {", *_aligned([("to", _address(resource)), ("id", _text(resource.identity))], 1), "}"])


def _resource(resource: Resource) -> str:
    lines = [f"# {note}" for note in resource.notes]
    lines.append(f"resource {_text(TYPES[resource.kind])} {_text(variable(resource.name))} {{")
    plain = [(name, value) for name, value in resource.arguments if not isinstance(value, Block)]
    lines += _aligned([(name, _value(value)) for name, value in plain], 1)
    for name, value in resource.arguments:
        if isinstance(value, Block):
            lines += ["", f"  {name} {{", *_aligned([(n, _value(v)) for n, v in value.parts], 2), "  }"]
    for name, text, method in resource.repeated:
        parts = [("name", _text(name)), ("value", _text(text)), ("apply_method", _text(method))]
        lines += ["", "  parameter {", *_aligned(parts, 2), "  }"]
    if resource.tags:
        lines += ["", "  tags = {", *_aligned([(_text(k), _text(v)) for k, v in resource.tags], 2), "  }"]
    return "\n".join([*lines, "", "  lifecycle {", "    prevent_destroy = true", "  }", "}"])


def _aligned(pairs: list[tuple[str, str]], depth: int) -> list[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{'  ' * depth}{name:<{width}} = {value}" for name, value in pairs]


def _address(resource: Resource) -> str:
    return f"{TYPES[resource.kind]}.{variable(resource.name)}"


def _value(value: Value | Block | Ref) -> str:
    if isinstance(value, Ref):
        return f"{_address(value.resource)}.{value.attribute}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    # JSON's escapes are HCL's, too; ${ and %{ would begin a template.
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")
