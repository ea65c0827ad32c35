"""What the file says, from values: every line is what YAML, the project and the program's own reader make of it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockSettings
from pulumi.runtime.settings import configure

from encryptdb.controller.init import yaml_file
from encryptdb.controller.init.found import Found, holder
from encryptdb.controller.init.proposal import MOST_ALIASES, Proposal, propose
from encryptdb.controller.init.references import Unread, _places
from encryptdb.lab.pulumi.config import Project, effective
from encryptdb.stacks.settings import Settings, read_settings
from tests.init.made import ALIASES, CLUSTER, HOST, INSTANCE, PROXY, READER, RECORD, SECRET, found

ROOT = Path(__file__).resolve().parents[2]


def text(given: Found) -> str:
    return yaml_file.text(given, propose(given))


def config(given: Found) -> dict[str, Any]:
    return dict(yaml.safe_load(text(given))["config"])


def comments(given: Found) -> str:
    """The comments as one text, as a reader takes them in."""
    lines = [line.strip() for line in text(given).splitlines()]
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """What the program's only reader of the configuration makes of a file."""

    def read(words: str) -> Settings:
        (tmp_path / "stacks").mkdir(exist_ok=True)
        (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
        (tmp_path / "stacks" / "Pulumi.orders.yaml").write_text(words)
        values = effective(Project(tmp_path), "orders", tmp_path / "kept.json", {})
        configure(MockSettings(project="encryptdb", stack="orders", dry_run=False))
        set_all_config(values, [])
        return read_settings()

    return read


def test_a_source_of_which_nothing_is_found_gives_the_defaults(settings: Any) -> None:
    read = settings(text(found()))
    assert read == Settings(stack="orders", source="orders-prod", phase="prepare")
    assert config(found())["aws:region"] == "eu-central-1"


@pytest.mark.parametrize("source", [INSTANCE, CLUSTER, dataclasses.replace(INSTANCE, publicly_accessible=True)])
def test_every_line_that_is_commented_out_can_be_taken_in(source: Any, settings: Any) -> None:
    given = found(source)
    opened = re.sub(r"^  # (encryptdb:\w+: )", r"  \1", text(given), flags=re.MULTILINE)
    # Of the keys to choose from, one.
    lines = [line for line in opened.splitlines() if "kmsKey: alias/aws" not in line and "alias/bills" not in line]
    read = settings("\n".join(lines).replace("ACCOUNT", "111122223333"))
    assert read.kms_key == "alias/orders-data"
    assert read.overrides.log_exports == source.log_exports
    assert read.overrides.multi_az is (None if source.members else True)
    assert read.overrides.publicly_accessible is source.public
    assert (read.rollback_window, read.attempt, read.auth, read.parameter_group) == ("7d", 1, "password", "manage")


def test_everything_found_is_a_switch_as_the_program_and_the_controller_read_it(settings: Any) -> None:
    given = found(records=(RECORD,), proxies=(PROXY,), secrets=(SECRET,))
    assert settings(text(given)).switches == (
        {"kind": "secretsmanager", "secretId": "orders/db", "keys": {"host": "host", "port": "port"}},
        {"kind": "route53", "hostedZoneId": "Z0123456789", "records": ["db.orders.internal"]},
        {"kind": "rds-proxy", "proxy": "orders"},
    )


def test_several_of_a_kind_are_all_listed() -> None:
    second = dataclasses.replace(RECORD, name="main.orders.internal", ttl=60)
    elsewhere = dataclasses.replace(RECORD, zone="Z9", zone_name="orders.example", ttl=30)
    other = dataclasses.replace(SECRET, secret="orders/jobs", key="db_host", port_key=None)
    given = found(
        records=(RECORD, second, elsewhere),
        secrets=(SECRET, other),
        proxies=(PROXY, dataclasses.replace(PROXY, name="b")),
    )
    assert [[*s.values()][1:] for s in config(given)["encryptdb:switches"]] == [
        ["orders/db", {"host": "host", "port": "port"}],
        ["orders/jobs", {"host": "db_host"}],
        ["Z0123456789", ["db.orders.internal", "main.orders.internal"]],
        ["Z9", ["db.orders.internal"]],
        ["orders"],
        ["b"],
    ]
    # Of the three records one is too slow.
    assert re.findall(r"TTL of ([^:]*):", comments(given)) == ["db.orders.internal 300 s"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"records": (dataclasses.replace(RECORD, plain=False),)}, "among other values, or by a routing policy"),
        ({"records": (dataclasses.replace(RECORD, host=READER),)}, f"names {READER}, which is a reader's"),
        ({"proxies": (dataclasses.replace(PROXY, alone=False),)}, "has other targets as well"),
        ({"secrets": (dataclasses.replace(SECRET, whole=False),)}, "as part of a longer text"),
        ({"secrets": (dataclasses.replace(SECRET, key=None, whole=False),)}, f"has {HOST} in it as part"),
        ({"secrets": (dataclasses.replace(SECRET, host=READER),)}, "which is a reader's or an instance's endpoint"),
        ({"secrets": (dataclasses.replace(SECRET, owner="rds"),)}, "is managed by rds, which would overwrite"),
        ({"secrets": (dataclasses.replace(SECRET, secret="rds!db-1"),)}, "is managed by rds, which would overwrite"),
    ],
)
def test_what_no_switch_moves_is_told_and_is_no_switch(changes: dict[str, Any], says: str) -> None:
    given = found(dataclasses.replace(CLUSTER), **changes)
    assert "encryptdb:switches" not in config(given)
    assert says in comments(given)
    (told,) = propose(given).by_hand
    assert told in propose(given).notes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"secrets": (dataclasses.replace(SECRET, rotated=True),)}, "orders/db has rotation enabled: disable"),
        ({"proxies": (dataclasses.replace(PROXY, status="modifying"),)}, "orders is modifying: the cutover is refused"),
    ],
)
def test_a_switch_that_would_be_refused_as_it_stands_says_so(changes: dict[str, Any], says: str) -> None:
    given = found(**changes)
    assert len(config(given)["encryptdb:switches"]) == 1
    assert says in comments(given)
    assert any(says in note for note in propose(given).notes)


def encrypted(under: str | None) -> Found:
    return found(dataclasses.replace(INSTANCE, encrypted=True, kms_key_arn=under))


def test_an_encrypted_source_has_its_owner_name_the_key() -> None:
    given = encrypted("arn:aws:kms:eu-central-1:111122223333:key/other")
    assert "encryptdb:kmsKey" not in config(given)
    assert (
        "is encrypted already, under arn:aws:kms:eu-central-1:111122223333:key/other (alias/orders-data)"
        in comments(given)
    )
    # The key that it is under is no choice.
    assert re.findall(r"# encryptdb:kmsKey: (\S+)", text(given)) == ["alias/bills"]
    assert "refused" not in propose(given).notes[1]


def test_under_awss_own_key_the_default_would_be_refused() -> None:
    assert "The default is alias/aws/rds again, which is refused" in comments(encrypted("arn:…:key/aws-own"))


def test_a_key_that_aws_keeps_to_itself_counts_as_encrypted() -> None:
    assert "under a key that AWS owns" in comments(encrypted(None))


def test_keys_that_could_not_be_listed_are_not_said_to_be_absent() -> None:
    blind = found(aliases=None, unread=(Unread("the KMS keys of the region", "kms:ListAliases", "Denied: no"),))
    assert "There is no alias" not in comments(blind)
    assert "The keys of the region could not be listed" in comments(blind)
    assert "Denied: no. It needs the permission kms:ListAliases." in comments(blind)
    assert "There is no alias of another customer managed key" in comments(found(aliases=ALIASES[:1]))


def test_of_very_many_keys_some_are_offered_and_it_is_said() -> None:
    many = tuple(dataclasses.replace(ALIASES[1], name=f"alias/k{n}") for n in range(30))
    given = found(aliases=many)
    assert len(re.findall(r"# encryptdb:kmsKey:", text(given))) == MOST_ALIASES
    assert f"{MOST_ALIASES} of 30" in comments(given)


def test_a_password_that_rds_manages_is_used_and_what_it_means_is_said(settings: Any) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-0-AbCdEf"
    given = found(dataclasses.replace(INSTANCE, master_secret=arn))
    assert settings(text(given)).source_secret == arn
    assert "no rotation may happen between snapshot and retire" in comments(given)


def test_iam_authentication_is_pointed_out() -> None:
    given = found(dataclasses.replace(INSTANCE, iam_authentication=True))
    assert "IAM database authentication is enabled: set iam" in comments(given)


@pytest.mark.parametrize(
    ("tags", "who"),
    [
        ({"aws:cloudformation:stack-name": "db"}, "CloudFormation (stack db)"),
        ({"ManagedBy": "Terraform"}, "Terraform (tag ManagedBy=Terraform)"),
        ({"terraform:workspace": "prod"}, "Terraform (tag terraform:workspace=prod)"),
        ({"team": "orders"}, None),
        ({"encryptdb:stack": "pulumi-orders"}, None),
    ],
)
def test_whose_code_holds_it_is_read_from_tags(tags: dict[str, str], who: str | None) -> None:
    assert holder({}, tags) == who
    given = found(holder=who)
    assert (f"{who} manages it" in comments(given)) is (who is not None)


def test_what_nobody_can_see_is_always_said() -> None:
    for thing in ("PgBouncer and other poolers", "settings of their own", "outside of this account's Route 53"):
        assert thing in comments(found())
    assert "secrets that do not have orders-prod in their name" in comments(found())


def test_nothing_found_is_not_called_nothing_there() -> None:
    assert "what could not be read is below" in comments(found())


def test_it_stays_a_small_file_with_a_comment_for_every_key() -> None:
    given = found(records=(RECORD,), proxies=(PROXY,), secrets=(SECRET,))
    lines = text(given).splitlines()
    assert len(lines) <= 70
    assert max(len(line) for line in lines) <= 120
    for number, line in enumerate(lines):
        if re.match(r"  (encryptdb|aws):", line):
            assert lines[number - 1].startswith("  # "), line


@pytest.mark.parametrize(
    "name", ["on", "null", "7", "a: b", "a # b", '"quoted"', "back\\slash", "zwei\nZeilen", "é\x85\u2028", "{x}", "-"]
)
def test_no_name_breaks_out_of_its_place(name: str) -> None:
    secret = dataclasses.replace(SECRET, secret=name, key=name, port_key=name)
    by_hand = dataclasses.replace(SECRET, secret=f"{name}\nencryptdb:attempt: 9", whole=False)
    denied = Unread(f"x\n  {name}", "p:Q", f"said\n{name}\nencryptdb:phase: retire")
    read = config(found(secrets=(secret, by_hand), unread=(denied,), holder=f"Terraform\n{name}"))
    assert read["encryptdb:switches"] == [
        {"kind": "secretsmanager", "secretId": name, "keys": {"host": name, "port": name}}
    ]
    assert (read["encryptdb:phase"], set(read)) == (
        "prepare",
        {"aws:region", "encryptdb:source", "encryptdb:phase", "encryptdb:kmsKey", "encryptdb:switches"},
    )


@pytest.mark.parametrize(
    ("secret", "places"),
    [
        ('{"host": "a.b", "port": 1}', [("host", "port", "a.b", True)]),
        ('{"db_host": "a.b", "db_port": "1", "web_port": 2}', [("db_host", "db_port", "a.b", True)]),
        ('{"host": "a.b", "p_port": 1, "q_port": 2}', [("host", None, "a.b", True)]),
        ('{"host": "a.b", "port": "${PORT}"}', [("host", None, "a.b", True)]),
        ('{"url": "postgres://u:p@a.b:1/x"}', [("url", None, "a.b", False)]),
        ('{"deep": {"host": "a.b"}}', [("deep", None, "a.b", False)]),
        ('{"host": "A.B"}', [("host", None, "A.B".lower(), False)]),
        ("host=a.b port=1", [(None, None, "a.b", False)]),
        ('{"host": "old-a.b", "two": "a.b.c", "three": "x.a.b"}', []),
        ('{"n": 5}', []),
        ("[]", []),
    ],
)
def test_where_a_secret_has_the_host(secret: str, places: list[Any]) -> None:
    assert list(_places(secret, ["a.b"])) == places


def test_addresses_are_whole_ones() -> None:
    assert list(_places('{"host": "127.0.0.12"}', ["127.0.0.1"])) == []


def test_a_proposal_keeps_no_value_of_a_secret() -> None:
    assert {f.name for f in dataclasses.fields(SECRET)} & {"value", "user", "password"} == set()
    assert isinstance(propose(found()), Proposal)
