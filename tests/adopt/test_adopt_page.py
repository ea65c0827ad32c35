"""The page: when it is adopt's turn, what it says of what is gone or could not be seen, how the stack goes."""

from dataclasses import replace
from typing import Any

import pytest

from encryptdb.controller.adopt import compose
from encryptdb.controller.adopt.found import Found, Reference, Unseen
from encryptdb.controller.adopt.read import old_of
from encryptdb.controller.permissions import refusal
from encryptdb.controller.state import Condition, Standing, State
from tests.adopt.answers import REGION, found, found_cluster, group, instance, instance_answer, outputs

HEADINGS = ["## 1. Import", "## 2. Settings", "## 3. What refers", "## 4. Removing", "## Could not be read"]


def page(one: Found, state: State = State.RETIRED, *conditions: Condition) -> str:
    problem = refusal(Standing(state, None, frozenset(conditions)), "adopt", one.outputs)
    return compose(one, "pulumi", problem)


def test_the_sections_come_in_the_order_of_the_work() -> None:
    text = page(found(unseen=(Unseen("alarms", "AccessDenied", "the permission cloudwatch:DescribeAlarms"),)))
    assert [text.index(h) for h in HEADINGS] == sorted(text.index(h) for h in HEADINGS)
    assert "the permission cloudwatch:DescribeAlarms" in text


def test_what_is_known_is_shown_before_its_turn_too() -> None:
    text = page(found(), State.OPEN)
    assert "Not yet" in text
    assert '"id": "copy"' in text


@pytest.mark.parametrize(
    "where",
    [
        (State.OPEN,),
        (State.RETIRED, Condition.UNFINISHED),
        (State.RETIRED, Condition.BEFORE_RETIRE_PHASE),
        (State.UNKNOWN,),
    ],
)
def test_no_command_that_removes_the_stack_is_shown_before_its_turn(where: Any) -> None:
    assert "pulumi destroy" in page(found())
    assert "pulumi state delete" not in page(found(), *where)
    assert "pulumi destroy" not in page(found(), *where)


def test_of_an_abandoned_copy_nothing_is_shown() -> None:
    text = page(found(), State.ABANDONED)
    assert "No: This attempt was abandoned" in text
    assert "import" not in text


def test_without_a_target_there_is_nothing_to_import_and_no_stack_to_remove() -> None:
    text = page(found(outputs=outputs(target=None), target=()), State.PREPARED)
    assert "nothing to import" in text
    assert "pulumi destroy" not in text


def test_a_managed_password_is_said_and_is_no_part_of_an_import() -> None:
    one = found(target=(instance(instance_answer("copy", MasterUserSecret={"SecretArn": "arn:s"})),))
    assert "Secrets Manager holds the password" in page(one)
    assert "Secrets Manager" not in page(found())


def test_a_cluster_is_to_be_renamed_before_the_import() -> None:
    assert "without replacing the cluster" in page(found_cluster())
    assert "without replacing the cluster" not in page(found())


def test_terraform_is_told_how_many_are_imported_and_to_protect_them() -> None:
    text = compose(found(groups=(group("copy-group"),)), "terraform", None)
    assert "must show 2 to import, 0 to add" in text
    assert "lifecycle { prevent_destroy = true }" in text


def test_a_source_that_is_gone_is_said_to_be_gone_and_one_that_was_not_seen_is_not() -> None:
    gone = page(found(source=()))
    assert "The source has been deleted" in gone
    unseen = page(found(source=(), source_seen=False))
    assert "The source has been deleted" not in unseen
    assert "could not be read" in unseen


def test_a_reference_says_what_where_and_what_instead() -> None:
    text = page(found(references=(Reference("alarm", "cpu", "the dimension orders", "the dimension copy"),)))
    assert "- **alarm** cpu: the dimension orders\n  - instead: the dimension copy" in text
    assert "Nothing was found." not in text
    assert "Nothing was found." in page(found())


def test_a_group_that_the_target_does_not_use_is_deleted_with_the_stack() -> None:
    assert 'name != "target-parameters"' in page(found())
    adopted = found(groups=(group("copy-group"),))
    assert "target-parameters" not in page(adopted).split("## 4.")[1]


def test_a_source_on_the_stack_s_group_has_to_leave_it_first() -> None:
    mine = group("orders-group")
    text = page(found(source_group=mine))
    assert text.index("--db-parameter-group-name THE_GROUP_IT_HAD") < text.index("pulumi destroy")
    assert "THE_GROUP_IT_HAD" not in page(found(source_group=replace(mine, tags={})))
    assert "THE_GROUP_IT_HAD" not in page(found(source_group=mine, source=()))


def test_copies_of_earlier_attempts_are_named() -> None:
    assert "orders-encrypted-1 of earlier attempts" in page(found(earlier=("orders-encrypted-1",)))


def test_backups_that_are_copied_to_another_region_begin_anew() -> None:
    copies = [{"DBInstanceAutomatedBackupsArn": "arn:aws:rds:eu-west-1:1:auto-backup:ab-1"}]
    source = instance(instance_answer(DBInstanceAutomatedBackupsReplications=copies))
    text = page(found(source=(source,)))
    assert "start-db-instance-automated-backups-replication" in text
    assert "arn:aws:rds:eu-west-1:1:auto-backup:ab-1" in text


def test_the_old_hosts_are_the_source_s_or_else_what_the_target_s_name_tells() -> None:
    assert old_of(found(), "l/", "m/").hosts == (f"orders.abc123.{REGION}.rds.amazonaws.com",)
    gone = old_of(found(source=()), "l/", "m/")
    assert gone.hosts == (f"orders.abc123.{REGION}.rds.amazonaws.com",)
    assert gone.arn == "arn:aws:rds:eu-central-1:123456789012:db:orders"
    cluster = old_of(found_cluster(), "l/", "m/")
    assert cluster.hosts[1] == f"orders.cluster-ro-abc123.{REGION}.rds.amazonaws.com"
    assert cluster.successor(cluster.hosts[1]) == f"copy.cluster-ro-abc123.{REGION}.rds.amazonaws.com"


def test_a_host_that_nobody_can_know_is_not_invented() -> None:
    renamed = found(source=(), outputs=outputs())
    target = replace(renamed.outputs.target, host="127.0.0.9")  # type: ignore[type-var]
    one = replace(renamed, outputs=replace(renamed.outputs, target=target))
    assert old_of(one, "l/", "m/").hosts == ()
