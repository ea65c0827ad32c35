"""The code: it is code, says what AWS says, and holds no password."""

import ast
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

from encryptdb.controller.adopt import program
from encryptdb.controller.adopt.found import Found
from tests.adopt.answers import found, found_cluster, group, instance, instance_answer

AWKWARD = 'a "quoted" ${word} %{if} \\ and ü'
FOUNDS = {
    "instance": found(groups=(group("copy-group", ("work_mem", "8192"), ("search_path", AWKWARD)),)),
    "cluster": found_cluster(groups=(group("copy-group", ("jit", "0"), noun="cluster-parameter-group"),)),
    "tags": found(target=(instance(instance_answer("copy", TagList=[{"Key": AWKWARD, "Value": AWKWARD}])),)),
    "name": found(target=(instance(instance_answer("copy")),)),
}


def calls(one: Found) -> dict[str, dict[str, Any]]:
    """Every resource of the Python program by its variable: arguments that are plain values, else their source."""
    made = {}
    for node in ast.parse(program(one, "pulumi")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            arguments: dict[str, Any] = {"": ast.unparse(node.value.func)}
            for word in node.value.keywords:
                try:
                    arguments[str(word.arg)] = ast.literal_eval(word.value)
                except ValueError:
                    arguments[str(word.arg)] = ast.unparse(word.value)
            made[ast.unparse(node.targets[0])] = arguments
    return made


def blocks(one: Found) -> dict[str, Any]:
    """The Terraform file, parsed."""
    parsed: dict[str, Any] = hcl2.load(io.StringIO(program(one, "terraform")))
    return parsed


@pytest.mark.parametrize("name", FOUNDS)
def test_it_is_python(name: str) -> None:
    assert calls(FOUNDS[name])


@pytest.mark.parametrize("name", FOUNDS)
def test_it_is_hcl_and_each_resource_has_its_import(name: str) -> None:
    parsed = blocks(FOUNDS[name])
    assert len(parsed["import"]) == len(parsed["resource"]) == len(calls(FOUNDS[name]))


@pytest.mark.skipif(not shutil.which("terraform"), reason="there is no terraform here")
@pytest.mark.parametrize("name", FOUNDS)
def test_terraform_itself_reads_it_and_would_lay_it_out_so(name: str, tmp_path: Path) -> None:
    file = tmp_path / "main.tf"
    file.write_text(program(FOUNDS[name], "terraform"))
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_instance_says_what_aws_says() -> None:
    one = calls(FOUNDS["instance"])
    orders = one["orders"]
    assert orders[""] == "aws.rds.Instance"
    assert orders["opts"] == "pulumi.ResourceOptions(import_='copy', protect=True)"
    said = {k: orders[k] for k in ("identifier", "engine_version", "iops", "multi_az", "vpc_security_group_ids")}
    assert said == {
        "identifier": "copy",
        "engine_version": "15.4",
        "iops": 12000,
        "multi_az": False,
        "vpc_security_group_ids": ["sg-1"],
    }
    assert orders["storage_encrypted"] is True
    assert orders["deletion_protection"] is True
    assert orders["maintenance_window"] == "sun:04:00-sun:04:30"
    assert orders["tags"] == {"team": "orders"}
    assert orders["parameter_group_name"] == "orders_parameters.name"
    assert one["orders_parameters"]["parameters"][1] == {
        "name": "search_path", "value": AWKWARD, "apply_method": "pending-reboot",
    }  # fmt: skip


def test_a_cluster_comes_with_its_instances_the_writer_first() -> None:
    one = calls(FOUNDS["cluster"])
    assert [arguments[""].split(".")[-1] for arguments in one.values()] == [
        "ClusterParameterGroup", "Cluster", "ClusterInstance", "ClusterInstance",
    ]  # fmt: skip
    assert one["orders"]["db_cluster_parameter_group_name"] == "orders_parameters.name"
    assert one["orders"]["serverlessv2_scaling_configuration"] == {"min_capacity": 0.5, "max_capacity": 8.0}
    assert "storage_type" not in one["orders"]
    assert (one["orders_1"]["identifier"], one["orders_1"]["cluster_identifier"]) == ("copy-2", "orders.id")


@pytest.mark.parametrize("name", FOUNDS)
@pytest.mark.parametrize("tool", ["pulumi", "terraform"])
def test_nothing_in_it_could_replace_the_database_or_set_its_password(name: str, tool: str) -> None:
    code = [line.split("=")[0].strip() for line in program(FOUNDS[name], tool).splitlines()]
    dangerous = {"password", "master_password", "username", "db_name", "snapshot_identifier", "availability_zone"}
    assert dangerous.isdisjoint(code)


def test_a_managed_password_is_said_and_not_imported() -> None:
    one = found(target=(instance(instance_answer("copy", MasterUserSecret={"SecretArn": "arn:s"})),))
    assert "manage_master_user_password" not in calls(one)["orders"]
    assert "# Secrets Manager holds the password." in program(one, "pulumi")
    assert "Secrets Manager" not in program(found(), "pulumi")


def test_a_group_that_is_the_owner_s_already_is_named_and_not_imported() -> None:
    one = calls(found())
    assert list(one) == ["orders"]
    assert one["orders"]["parameter_group_name"] == "copy-group"


@pytest.mark.parametrize(("storage", "told"), [(399, False), (400, True)])
def test_the_iops_of_a_small_gp3_volume_are_nobody_s_choice(storage: int, told: bool) -> None:
    one = calls(found(target=(instance(instance_answer("copy", AllocatedStorage=storage)),)))
    assert ("iops" in one["orders"]) is told


def test_before_there_is_a_target_there_is_no_code() -> None:
    assert program(found(target=()), "pulumi") == ""
