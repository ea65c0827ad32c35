"""From a parameter group to postgresql.conf: what acts at once, what waits for a reboot, what is refused."""

import pytest

from encryptdb.lab import parameters
from encryptdb.lab.parameters import BadValue, Parameter, Setting

KNOWN = {
    "work_mem": Parameter("work_mem", False, "integer", "4096", "64-2147483647", ""),
    "track_commit_timestamp": Parameter("track_commit_timestamp", True, "boolean", "off", "0,1", ""),
    "wal_level": Parameter("wal_level", True, "enum", "replica", "", "", modifiable=False),
    "rds.logical_replication": Parameter("rds.logical_replication", True, "boolean", "0", "0,1", ""),
}
STARTED = parameters.effective({})


def test_logical_replication_is_what_sets_wal_level() -> None:
    assert STARTED["wal_level"] == "replica"
    on = parameters.effective({"rds.logical_replication": Setting("1", "pending-reboot")})
    assert on["wal_level"] == "logical"
    assert on["rds.logical_replication"] == "on"


def test_a_formula_leaves_the_lean_value() -> None:
    values = parameters.effective({"shared_buffers": Setting("{DBInstanceClassMemory/32768}", "pending-reboot")})
    assert values["shared_buffers"] == parameters.SYSTEM["shared_buffers"]


def test_a_dynamic_parameter_acts_at_once_when_asked_to() -> None:
    group = {"work_mem": Setting("9000", "immediate")}
    assert parameters.reloaded(KNOWN, STARTED, group)["work_mem"] == "9000"
    assert parameters.pending(parameters.reloaded(KNOWN, STARTED, group), group) == []


def test_a_dynamic_parameter_waits_for_the_reboot_when_asked_to() -> None:
    group = {"work_mem": Setting("9000", "pending-reboot")}
    running = parameters.reloaded(KNOWN, STARTED, group)
    assert "work_mem" not in running
    assert parameters.pending(running, group) == ["work_mem"]


def test_a_static_parameter_always_waits() -> None:
    group = {
        "track_commit_timestamp": Setting("1", "pending-reboot"),
        "rds.logical_replication": Setting("1", "pending-reboot"),
    }
    running = parameters.reloaded(KNOWN, STARTED, group)
    assert running["wal_level"] == "replica"
    assert parameters.pending(running, group) == ["rds.logical_replication", "track_commit_timestamp"]
    assert parameters.pending(parameters.effective(group), group) == []


def test_a_value_taken_back_leaves_at_once() -> None:
    running = parameters.effective({"work_mem": Setting("9000", "immediate")})
    assert "work_mem" not in parameters.reloaded(KNOWN, running, {})


@pytest.mark.parametrize(
    ("name", "value", "method", "reason"),
    [
        ("wal_level", "logical", "pending-reboot", "cannot be modified"),
        ("no_such_thing", "1", "immediate", "Could not find parameter"),
        ("track_commit_timestamp", "1", "immediate", "cannot use immediate apply method for static parameter"),
        ("work_mem", "1", "immediate", "allowed values are: 64-2147483647"),
        ("work_mem", "8MB", "immediate", "Invalid parameter value"),
        ("track_commit_timestamp", "maybe", "pending-reboot", "Invalid parameter value"),
        ("work_mem", "9000", "sometime", "Invalid apply method"),
    ],
)
def test_what_rds_refuses_is_refused(name: str, value: str, method: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        parameters.check(KNOWN, name, value, method)


def test_an_extensions_parameter_is_taken_as_it_is() -> None:
    assert parameters.check(KNOWN, "cron.database_name", "orders", "pending-reboot").value == "orders"


def test_quotes_cannot_leave_their_value() -> None:
    assert parameters.render({"a.b": "it's; listen_addresses = '*'"}) == "a.b = 'it''s; listen_addresses = ''*'''\n"
