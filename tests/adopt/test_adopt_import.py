"""The import files: what Pulumi and Terraform take, with the id of everything to import and nothing else."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pulumi_aws
import pytest

from encryptdb.controller.adopt import import_file
from encryptdb.controller.adopt.found import Found
from encryptdb.controller.adopt.import_file import TYPES
from tests.adopt.answers import found, found_cluster, group

FOUNDS = {
    "instance": found(groups=(group("copy-group", ("work_mem", "8192")),)),
    "cluster": found_cluster(groups=(group("copy-group", ("jit", "0"), noun="cluster-parameter-group"),)),
    "without a group of the stack's": found(),
}
EXPECTED = {
    "instance": [("parameter-group", "orders-parameters", "copy-group"), ("instance", "orders", "copy")],
    "cluster": [
        ("cluster-parameter-group", "orders-parameters", "copy-group"),
        ("cluster", "orders", "copy"),
        # The writer comes first.
        ("member", "orders-1", "copy-2"),
        ("member", "orders-2", "copy-1"),
    ],
    "without a group of the stack's": [("instance", "orders", "copy")],
}


def blocks(one: Found) -> list[dict[str, Any]]:
    """The `import` blocks of the Terraform file, parsed, without the quotes that the parser keeps."""
    parsed: list[dict[str, Any]] = hcl2.load(io.StringIO(import_file(one, "terraform")))["import"]
    return [{key: str(block[key]).strip('"${}') for key in ("to", "id")} for block in parsed]


@pytest.mark.parametrize("name", FOUNDS)
def test_pulumi_gets_every_resource_with_its_type_name_and_id(name: str) -> None:
    document = json.loads(import_file(FOUNDS[name], "pulumi"))
    expected = [{"type": TYPES[kind][0], "name": named, "id": identity} for kind, named, identity in EXPECTED[name]]
    assert document == {"resources": expected}


@pytest.mark.parametrize("name", FOUNDS)
def test_terraform_gets_every_resource_with_its_address_and_id(name: str) -> None:
    expected = [
        {"to": f"{TYPES[kind][1]}.{named.replace('-', '_')}", "id": identity}
        for kind, named, identity in EXPECTED[name]
    ]
    assert blocks(FOUNDS[name]) == expected


@pytest.mark.skipif(not shutil.which("terraform"), reason="there is no terraform here")
@pytest.mark.parametrize("name", FOUNDS)
def test_terraform_itself_reads_it_and_would_lay_it_out_so(name: str, tmp_path: Path) -> None:
    file = tmp_path / "imports.tf"
    file.write_text(import_file(FOUNDS[name], "terraform"))
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_is_one_of_pulumi_aws(kind: str) -> None:
    token = TYPES[kind][0]
    assert getattr(pulumi_aws.rds, token.rpartition(":")[2]).pulumi_type == token


@pytest.mark.parametrize("tool", ["pulumi", "terraform"])
def test_before_there_is_a_target_there_is_no_file(tool: str) -> None:
    assert import_file(found(target=()), tool) == ""
