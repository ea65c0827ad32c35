"""What to import, in the form that each tool takes: a file for `pulumi import --file`, `import` blocks for Terraform.

The tools read the resources from AWS and write the code themselves (`--out`, `-generate-config-out`). Pure.
"""

import json
import re
from dataclasses import dataclass

from encryptdb.controller.adopt.found import Found

TYPES = {
    "instance": ("aws:rds/instance:Instance", "aws_db_instance"),
    "cluster": ("aws:rds/cluster:Cluster", "aws_rds_cluster"),
    "member": ("aws:rds/clusterInstance:ClusterInstance", "aws_rds_cluster_instance"),
    "parameter-group": ("aws:rds/parameterGroup:ParameterGroup", "aws_db_parameter_group"),
    "cluster-parameter-group": (
        "aws:rds/clusterParameterGroup:ClusterParameterGroup",
        "aws_rds_cluster_parameter_group",
    ),
}
"""The type of each kind in Pulumi and in Terraform."""


@dataclass(frozen=True)
class Resource:
    """One resource: its name in the owner's code, and the id by which it is imported."""

    kind: str
    name: str
    identity: str


def resources(found: Found) -> tuple[Resource, ...]:
    """The parameter group that this stack made, then the server, then its members."""
    name = found.outputs.source.identifier
    groups = [Resource(g.noun, f"{name}-parameters", g.name) for g in found.groups]
    servers = [
        Resource(s.kind, f"{name}-{number}" if s.kind == "member" else name, s.identifier)
        for number, s in enumerate(found.target)
    ]
    return (*groups, *servers)


def pulumi(resources: tuple[Resource, ...]) -> str:
    """The JSON document of `pulumi import --file`."""
    listed = [{"type": TYPES[r.kind][0], "name": r.name, "id": r.identity} for r in resources]
    return json.dumps({"resources": listed}, indent=2) + "\n"


def terraform(resources: tuple[Resource, ...]) -> str:
    """One `import` block each (Terraform 1.5 and later), laid out as `terraform fmt` does."""
    blocks = [
        f"import {{\n  to = {TYPES[r.kind][1]}.{_label(r.name)}\n  id = {json.dumps(r.identity)}\n}}" for r in resources
    ]
    return "\n\n".join(blocks) + "\n"


def _label(name: str) -> str:
    """A resource's name as an identifier of HCL. An RDS identifier begins with a letter, and has a-z, 0-9 and -."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())
