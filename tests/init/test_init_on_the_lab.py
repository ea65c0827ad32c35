"""`init` on the lab: what names the database and what does not, and that the file is taken as it is."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from encryptdb.controller.switches import Endpoint, build
from encryptdb.lab.pulumi.up import up
from encryptdb.stacks.cloud.client import Aws
from tests.init.made import refusing
from tests.init.world import init, only, proxy, record, secret, written
from tests.kit.lab import Lab, start_lab
from tests.kit.secret_search import Search

PASSWORD = "a-password-of-the-application"
OF_ANOTHER = "a-password-of-somebody-else"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own, in which a record, a proxy and a secret name the source, and others name something else."""
    rds = start_lab(tmp_path_factory.mktemp("named") / "lab")
    try:
        furnish(rds)
        yield rds
    finally:
        rds.stop()


def furnish(rds: Lab) -> None:
    host, port = rds.address("orders-prod")
    record(rds, "orders.internal", "db.orders.internal", host)
    record(rds, "bills.internal", "db.bills.internal", "127.9.9.9")
    proxy(rds, "orders", DBInstanceIdentifiers=["orders-prod"])
    login = {"username": "app", "password": PASSWORD}
    secret(rds, "orders/db", login | {"host": host, "port": port}, "how to reach orders-prod")
    secret(rds, "bills/db", {"host": "127.9.9.9", "password": OF_ANOTHER}, "not orders-prod")
    secret(rds, "orders-prod-url", f"postgres://app:{PASSWORD}@{host}:{port}/orders")
    rds.client("secretsmanager").create_secret(Name="orders-prod-keystore", SecretBinary=b"\x00\x01" + host.encode())


def test_the_file_is_taken_by_the_next_up_as_it_is(named: Lab, project: Path, capsys: Capture) -> None:
    assert init(named, capsys, "orders-prod", "--stack", "taken").status == 0
    file = project / "stacks" / "Pulumi.taken.yaml"
    before = file.read_bytes()
    ending = up(named.directory, "taken", {})
    assert ending.status == 0, ending
    assert sorted(ending.changes.created) == ["link-to-source", "source-parameters", "target-parameters"]
    assert ending.outputs is not None
    assert ending.outputs["phase"] == "prepare"
    assert ending.outputs["source"]["identifier"] == "orders-prod"
    assert ending.outputs["switches"] == written(project, "taken")["encryptdb:switches"]
    assert file.read_bytes() == before


def test_what_points_to_the_source_is_a_switch_and_what_does_not_is_none(
    named: Lab, project: Path, capsys: Capture
) -> None:
    ended = init(named, capsys, "orders-prod", "--json")
    switches = written(project)["encryptdb:switches"]
    assert ended.document["switches"] == switches
    (zone,) = only(switches, "route53")
    assert zone["records"] == ["db.orders.internal"]
    assert only(switches, "rds-proxy") == [{"kind": "rds-proxy", "proxy": "orders"}]
    found = {s["secretId"]: s["keys"] for s in only(switches, "secretsmanager")}
    assert found == {
        "orders-prod/master": {"host": "host", "port": "port"},
        "orders/db": {"host": "host", "port": "port"},
    }
    text = (project / "stacks" / "Pulumi.orders-prod.yaml").read_text()
    assert "bills" not in text
    # Neither a switch nor left out.
    assert any("orders-prod-url" in note and "a switch `command`" in note for note in ended.document["notes"])
    assert {"what": "the secret orders-prod-keystore", "why": "Its value is binary."} in ended.document["unseen"]
    assert any("TTL of db.orders.internal 300 s" in note for note in ended.document["notes"])


def test_the_cutover_finds_every_switch_as_it_wants_it(named: Lab, project: Path, capsys: Capture) -> None:
    init(named, capsys, "orders-prod")
    documents = tuple(written(project)["encryptdb:switches"])
    host, port = named.address("orders-prod")
    source, target = Endpoint(host, port, "orders-prod"), Endpoint("127.1.2.3", port, "orders-prod-encrypted-1")
    made = build(documents, source, target, Aws("eu-central-1"))
    assert len(made) == 4
    for switch in made:
        switch.probe()


def test_no_secret_is_shown_or_written(named: Lab, project: Path, capsys: Capture) -> None:
    ended = init(named, capsys, "orders-prod", "--json")
    search = Search({"app": PASSWORD, "other": OF_ANOTHER, "master": named.source["password"]})
    assert ended.status == 0
    assert search.text(ended.out, "stdout") + search.text(ended.err, "stderr") == []
    assert search.paths([project]) == []


def test_the_document_tells_the_source(named: Lab, project: Path, capsys: Capture) -> None:
    document = init(named, capsys, "ORDERS-prod", "--stack", "shop", "--json").document
    assert set(document) == {"stack", "file", "source", "switches", "unseen", "notes"}
    assert (document["stack"], document["file"]) == ("shop", "stacks/Pulumi.shop.yaml")
    source = named.instance("orders-prod")
    assert document["source"] == {
        "identifier": "orders-prod",
        "resource_id": source["DbiResourceId"],
        "engine": "postgres",
        "version": source["EngineVersion"],
        "region": "eu-central-1",
        "host": source["Endpoint"]["Address"],
        "port": source["Endpoint"]["Port"],
        "encrypted": False,
        "kms_key_arn": None,
        "parameter_group": "orders-prod",
    }


def test_on_stdout_there_is_the_file_alone(named: Lab, project: Path, capsys: Capture) -> None:
    shown = init(named, capsys, "orders-prod", "--output", "-")
    assert shown.status == 0
    assert list((project / "stacks").iterdir()) == []
    init(named, capsys, "orders-prod")
    assert (project / "stacks" / "Pulumi.orders-prod.yaml").read_text() == shown.out
    assert yaml.safe_load(shown.out)["config"]["encryptdb:source"] == "orders-prod"


def test_a_file_that_is_there_is_kept_until_it_is_forced(named: Lab, project: Path, capsys: Capture) -> None:
    file = project / "stacks" / "Pulumi.orders-prod.yaml"
    file.write_bytes(b"# mine\r\nconfig: {}")
    refused = init(named, capsys, "orders-prod", "--json")
    assert (refused.status, refused.document["status"]) == (2, 2)
    assert file.read_bytes() == b"# mine\r\nconfig: {}"
    assert init(named, capsys, "orders-prod", "--force").status == 0
    assert written(project)["encryptdb:source"] == "orders-prod"
    # Readable as any file of the repository, and nothing left beside it.
    assert stat.S_IMODE(file.stat().st_mode) & stat.S_IRUSR
    assert [p.name for p in (project / "stacks").iterdir()] == ["Pulumi.orders-prod.yaml"]


def test_a_file_that_comes_meanwhile_is_kept(
    named: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "stacks" / "Pulumi.orders-prod.yaml"

    class Slow(Aws):
        def __init__(self, region: str) -> None:
            super().__init__(region)
            file.write_text("somebody else's")

    monkeypatch.setattr("encryptdb.controller.commands.init.Aws", Slow)
    ended = init(named, capsys, "orders-prod")
    assert ended.status == 2
    assert "was created meanwhile" in ended.err
    assert file.read_text() == "somebody else's"
    assert [p.name for p in (project / "stacks").iterdir()] == [file.name]


DENIED = [
    ("route53.ListHostedZones", "route53", "route53:ListHostedZones"),
    ("route53.ListResourceRecordSets", "route53", "route53:ListResourceRecordSets"),
    ("rds.DescribeDBProxies", "rds-proxy", "rds:DescribeDBProxies"),
    ("rds.DescribeDBProxyTargets", "rds-proxy", "rds:DescribeDBProxyTargets"),
    ("secrets-manager.ListSecrets", "secretsmanager", "secretsmanager:ListSecrets"),
    ("secrets-manager.GetSecretValue", "secretsmanager", "secretsmanager:GetSecretValue"),
    ("kms.ListAliases", None, "kms:ListAliases"),
    ("rds.DescribeDBParameterGroups", None, "rds:DescribeDBParameterGroups"),
    ("rds.ListTagsForResource", None, "rds:ListTagsForResource"),
]


@pytest.mark.parametrize(("operation", "kind", "permission"), DENIED)
def test_what_may_not_be_read_is_unseen_and_not_absent(
    named: Lab,
    project: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    kind: str | None,
    permission: str,
) -> None:
    whole = init(named, capsys, "orders-prod", "--json").document
    monkeypatch.setattr("encryptdb.controller.commands.init.Aws", refusing(operation))
    ended = init(named, capsys, "orders-prod", "--stack", "less", "--json")
    assert ended.status == 0
    less = ended.document
    # The others are found all the same.
    assert less["switches"] == [s for s in whole["switches"] if s["kind"] != kind]
    more = [u for u in less["unseen"] if u not in whole["unseen"]]
    assert more
    assert all("AccessDeniedException" in u["why"] and u["why"].endswith(f"{permission}.") for u in more)
    assert f"missing permission {permission}" in ended.err
    file = " ".join((project / "stacks" / "Pulumi.less.yaml").read_text().replace("\n#", " ").split())
    assert all(" ".join(u["what"].split()) in file for u in more)
    assert file.count(f"It needs the permission {permission}.") == len(more)


def test_one_secret_that_may_not_be_read_hides_no_other(
    named: Lab, project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneDenied(Aws):
        def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
            if "orders/db" in str(parameters.get("SecretId")):
                return refusing("secrets-manager.GetSecretValue")(self.region).call(service, operation, **parameters)
            return super().call(service, operation, **parameters)

    monkeypatch.setattr("encryptdb.controller.commands.init.Aws", OneDenied)
    document = init(named, capsys, "orders-prod", "--json").document
    assert [s["secretId"] for s in only(document["switches"], "secretsmanager")] == ["orders-prod/master"]
    assert "the secret orders/db" in [u["what"] for u in document["unseen"]]


def test_a_cluster_with_what_names_its_endpoints(aurora: Lab, project: Path, capsys: Capture) -> None:
    cluster = aurora.cluster("orders-prod")
    host, reader = cluster["Endpoint"], cluster["ReaderEndpoint"]
    kind = "A" if host[0].isdigit() else "CNAME"
    zone = record(aurora, "orders.internal", "db.orders.internal", host, 60, kind)
    record(aurora, "readers.internal", "db.readers.internal", reader, 60, kind)
    proxy(aurora, "orders", DBClusterIdentifiers=["orders-prod"])
    both = {"host": host, "reader_host": reader, "port": cluster["Port"]}
    secret(aurora, "orders/db", both, "how to reach orders-prod")

    ended = init(aurora, capsys, "orders-prod", "--json")
    assert ended.status == 0
    switches = ended.document["switches"]
    assert only(switches, "route53") == [{"kind": "route53", "hostedZoneId": zone, "records": ["db.orders.internal"]}]
    assert only(switches, "rds-proxy") == [{"kind": "rds-proxy", "proxy": "orders"}]
    assert only(switches, "secretsmanager", secretId="orders/db") == [
        {"kind": "secretsmanager", "secretId": "orders/db", "keys": {"host": "host", "port": "port"}}
    ]
    notes = ended.document["notes"]
    assert any("db.readers.internal" in note and "change it yourself" in note for note in notes)
    assert any("its key reader_host" in note and "change it yourself" in note for note in notes)
    assert not any("TTL" in note for note in notes)
    assert "multiAz" not in (project / "stacks" / "Pulumi.orders-prod.yaml").read_text()

    ending = up(aurora.directory, "orders-prod", {})
    assert ending.status == 0, ending
    assert ending.outputs is not None
    assert (ending.outputs["engine"], ending.outputs["switches"]) == ("aurora-postgresql", switches)
