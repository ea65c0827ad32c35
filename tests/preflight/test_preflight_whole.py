"""Preflight as a whole: what is unavailable, what is refused, what asking costs; and AWS as it is read."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.postgres.login import Login, Secret
from encryptdb.controller.postgres.object_names import Names
from encryptdb.controller.postgres.server import Server, SideName
from encryptdb.controller.preflight import preflight
from encryptdb.controller.preflight.checks.cloud import CLOUD
from encryptdb.controller.preflight.facts import Stage
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Status
from encryptdb.stacks.contract.outputs import Outputs, Side
from tests.kit.servers import free_port
from tests.preflight.made import ENCRYPTED, OPENED, TARGET, cloud, judged, outputs, server
from tests.preflight.world import World

# What is asked here, every version answers alike.
on_one_version = pytest.mark.parametrize("bin_folder", ["system"], indirect=True)


def migration(world: World, *, port: int | None = None, role: str = "controller", target: bool = False) -> Migration:
    """As the command line would open it, on an AWS that nobody answers for."""

    def server(side: SideName, at: int) -> Server:
        return Server(side, "127.0.0.1", at, Login(role, Secret("the wrong one"), "the test"))

    given: Outputs = outputs(target=TARGET if target else None)
    return Migration(
        given,
        Names.of(given.stack),
        Aws(given.region),
        server("source", port or world.server.port),
        server("target", free_port()) if target else None,
        Reporter(quiet=True),
    )


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the endpoint."""
    for name, value in aws_environment(f"http://127.0.0.1:{free_port()}").items():
        monkeypatch.setenv(name, value)


def aws_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@on_one_version
@pytest.mark.usefixtures("no_aws")
def test_an_unavailable_target_and_aws_hide_nothing_of_the_source(world: World) -> None:
    world.sql("CREATE TABLE t (a int)")
    m = migration(world, target=True)
    report = preflight(m, observe(m, partial=True))
    m.close()
    assert {f.side for f in report.of("unavailable")} == {"target", "aws"}
    assert "replica-identity" in {f.check for f in report.findings}
    assert {"target-encryption", "same-tables", "storage"} <= set(report.unavailable)
    assert set(report.passed).isdisjoint(report.unavailable)
    with pytest.raises(Failed) as failed:
        report.raise_if_blocked()
    assert failed.value.status == Status.FAILED
    assert failed.value.document == report.to_json()  # type: ignore[attr-defined]


@on_one_version
@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("bad", ["port", "password"])
def test_a_source_that_does_not_answer_or_a_wrong_password_is_a_failure(world: World, bad: str) -> None:
    m = migration(world, port=free_port()) if bad == "port" else migration(world, role="locked")
    report = preflight(m, observe(m, partial=True))
    finding = next(f for f in report.findings if f.side == "source")
    assert (finding.check, finding.severity) == ("reachable", "unavailable")
    assert ("does not answer" if bad == "port" else "rejected the login") in finding.found
    assert "the wrong one" not in str(report)
    with pytest.raises(Failed):
        report.raise_if_blocked()


@on_one_version
def test_what_merely_blocks_is_a_refusal(world: World) -> None:
    world.sql("CREATE TABLE t (a int)")
    report = world.report()
    with pytest.raises(Refused) as refused:
        report.raise_if_blocked()
    assert refused.value.status == Status.REFUSED
    assert 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL;' in (refused.value.detail or "")


def test_an_unavailable_source_after_open_is_no_failure() -> None:
    report = judged(
        outputs=outputs(target=TARGET),
        stage=Stage.OPEN,
        source=None,
        target=server(side="target", records=OPENED),
        cloud=cloud(target=ENCRYPTED),
        unavailable={"source": Failed("The source does not answer.")},
    )
    assert [(f.check, f.severity) for f in report.findings] == [("reachable", "warns")]
    assert report.unavailable == ()


@on_one_version
def test_the_number_of_statements_does_not_grow_with_the_tables(world: World) -> None:
    def statements() -> int:
        world.server.sql("ALTER ROLE controller SET log_statement = 'all'")
        before = len(world.server.log_text())
        world.facts()
        return world.server.log_text()[before:].count("LOG:  statement:")

    first = statements()
    world.sql("".join(f"CREATE TABLE t{n} (id int PRIMARY KEY, s serial); " for n in range(30)))
    assert statements() == first > 10


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    """AWS as moto plays it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_aws_is_read_as_it_answers(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws_environment(moto_endpoint).items():
        monkeypatch.setenv(name, value)
    aws = Aws("eu-central-1")
    made = aws.call(
        "rds",
        "create_db_instance",
        DBInstanceIdentifier="shop",
        Engine="postgres",
        DBInstanceClass="db.m6g.large",
        AllocatedStorage=100,
        MasterUsername="master",
        MasterUserPassword="not a secret",
    )["DBInstance"]
    aws.call(
        "rds", "create_db_parameter_group", DBParameterGroupName="shop-source", DBParameterGroupFamily="postgres15",
        Description="for the test",
    )  # fmt: skip
    given = outputs(source=Side("shop", made["DbiResourceId"], "127.0.0.1", 5432), target=TARGET)
    m = Migration(
        replace(given, target_parameter_group="nowhere"),
        Names.of(given.stack),
        aws,
        Server("source", "127.0.0.1", 5432, Login("controller", Secret("unused"), "the test")),
        None,
        Reporter(quiet=True),
    )
    found = CLOUD.read(m)
    assert found.source is not None
    assert (found.source.resource_id, found.source.encrypted) == (made["DbiResourceId"], False)
    assert found.source.allocated_bytes == 100 << 30
    assert found.target is None
    assert found.groups == {"nowhere": None, "shop-source": {}}
    assert (found.free_bytes, found.free_unknown) == (None, "CloudWatch has no figure of the last 15 minutes")
    aws.call(
        "cloudwatch",
        "put_metric_data",
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": "FreeStorageSpace",
                "Value": float(7 << 30),
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": "shop"}],
            }
        ],
    )
    assert CLOUD.read(m).free_bytes == 7 << 30
