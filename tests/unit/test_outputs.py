"""The contract between the program and the controller reads back what was written, and names a wrong key."""

import json
from typing import Any

import pytest

from encryptdb.stacks.contract.outputs import ContractError, Outputs, Side

OUTPUTS = Outputs(
    contract=1,
    stack="orders-prod",
    phase="restore",
    attempt=2,
    engine="postgres",
    region="eu-central-1",
    account="123456789012",
    source=Side("orders", "db-SOURCE", "127.0.0.2", 5432, "arn:aws:secretsmanager:eu-central-1:1:secret:s"),
    target=Side("orders-encrypted-2", "db-TARGET", "127.0.0.3", 5432),
    kms_key_arn="arn:aws:kms:eu-central-1:123456789012:key/k",
    snapshot_arn="arn:aws:rds:eu-central-1:123456789012:snapshot:s",
    source_parameter_group="encryptdb-orders-prod-source",
    target_parameter_group="encryptdb-orders-prod-target",
    switches=({"kind": "pgbouncer", "admin": "postgresql://admin@127.0.0.1:6432/pgbouncer"},),
)


def document(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(OUTPUTS.to_json())) | changes


def test_what_is_written_is_read_back() -> None:
    assert Outputs.from_json(document()) == OUTPUTS


def test_before_restore_the_target_is_null() -> None:
    assert Outputs.from_json(document(target=None, snapshotArn=None, phase="prepare")).target is None


def test_pulumi_writes_numbers_as_doubles() -> None:
    assert Outputs.from_json(document(attempt=2.0)).attempt == 2


def test_keys_of_a_newer_program_are_ignored() -> None:
    assert Outputs.from_json(document(somethingNew=1)) == OUTPUTS


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"contract": 2}, "contract"),
        ({"stack": None}, "stack"),
        ({"phase": "restor"}, "phase"),
        ({"attempt": "one"}, "attempt"),
        ({"engine": "mysql"}, "engine"),
        ({"source": None}, "source"),
        ({"source": {"identifier": "x", "host": "h", "port": 5432}}, "source.resourceId"),
        ({"target": {"identifier": "x", "resourceId": "r", "host": "h", "port": "5432"}}, "target.port"),
        ({"switches": [{"admin": "x"}]}, r"switches\[0\].kind"),
    ],
)
def test_a_wrong_key_is_named(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ContractError, match=f"^{key}: "):
        Outputs.from_json(document(**changes))
