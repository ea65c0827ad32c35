"""Who refers to the old server: each is found over the AWS API, with what to put instead; a refusal hides no other."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from encryptdb.controller.adopt.found import Reference, Unseen
from encryptdb.controller.adopt.read import old_of
from encryptdb.controller.adopt.references import READERS, find
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed
from tests.adopt.answers import REGION, found, found_cluster

OLD = old_of(found(), "/aws/rds/instance/orders/", "/aws/rds/instance/copy/")
HOST, NEW_HOST = OLD.hosts[0], OLD.target_hosts[0]


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """An AWS account in which everything there is names the old server, and its like that names another."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        for name, resource, identifier in (("old", "db-ORDERS", "orders"), ("other", "db-OTHER", "other")):
            furnish(name, resource, identifier)
        yield
    server.stop()


def furnish(name: str, resource: str, identifier: str) -> None:
    """One of each kind that names this server."""
    host = HOST.replace("orders", identifier, 1)
    dimension = {"Name": "DBInstanceIdentifier", "Value": identifier}
    watch: dict[str, Any] = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": 1.0}
    metric = {"Namespace": "AWS/RDS", "MetricName": "CPUUtilization"}
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=f"{name}-cpu", **watch, **metric, Dimensions=[dimension], Period=60, Statistic="Average"
    )
    stat = {"Metric": {**metric, "Dimensions": [dimension]}, "Period": 60, "Stat": "Average"}
    cloudwatch.put_metric_alarm(AlarmName=f"{name}-sum", **watch, Metrics=[{"Id": "m", "MetricStat": stat}])

    logs = boto3.client("logs")
    logs.create_log_group(logGroupName=f"/aws/rds/instance/{identifier}/postgresql")
    logs.put_retention_policy(logGroupName=f"/aws/rds/instance/{identifier}/postgresql", retentionInDays=30)

    iam = boto3.client("iam")
    allowed = f"arn:aws:rds-db:{REGION}:123456789012:dbuser:{resource}/app"
    statement = {"Effect": "Allow", "Action": "rds-db:connect", "Resource": allowed}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy)
    iam.create_group(GroupName=name)
    iam.put_group_policy(GroupName=name, PolicyName="inline", PolicyDocument=policy)
    iam.create_policy(PolicyName=f"{name}-managed", PolicyDocument=policy)

    topic = boto3.client("sns").create_topic(Name=name)["TopicArn"]
    boto3.client("rds").create_event_subscription(
        SubscriptionName=name, SnsTopicArn=topic, SourceType="db-instance", SourceIds=[identifier]
    )
    route53 = boto3.client("route53")
    zone = route53.create_hosted_zone(Name=f"{name}.internal", CallerReference=name)["HostedZone"]["Id"]
    record = {"Name": f"db.{name}.internal", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": host}]}
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    boto3.client("secretsmanager").create_secret(
        Name=f"{identifier}/db", SecretString=json.dumps({"host": host, "password": "never-shown"})
    )
    boto3.client("dms").create_endpoint(
        EndpointIdentifier=name, EndpointType="source", EngineName="postgres", ServerName=host
    )


Seen = tuple[tuple[Reference, ...], tuple[Unseen, ...]]


@pytest.fixture(scope="module")
def seen(account: None) -> Seen:
    """What is found in that account."""
    return find(Aws(REGION), OLD)


def of(seen: Seen, kind: str) -> list[Reference]:
    return [r for r in seen[0] if r.kind == kind]


@pytest.mark.parametrize(
    ("kind", "names", "instead"),
    [
        ("alarm", ["old-cpu", "old-sum"], "the dimension copy"),
        ("log group", ["/aws/rds/instance/orders/postgresql"], "--retention-in-days 30"),
        ("event subscription", ["old"], "--source-identifier copy"),
        ("secret", ["orders/db"], NEW_HOST),
        ("DMS endpoint", ["old"], NEW_HOST),
    ],
)
def test_each_is_found_and_nobody_else_s(seen: Seen, kind: str, names: list[str], instead: str) -> None:
    assert [r.name for r in of(seen, kind)] == names
    assert all(instead in r.instead for r in of(seen, kind))


def test_policies_of_roles_users_and_groups_and_managed_ones(seen: Seen) -> None:
    found = of(seen, "IAM policy")
    assert len(found) == 4
    assert {r.names for r in found} == {"dbuser:db-ORDERS"}
    assert {r.instead for r in found} == {"dbuser:db-COPY"}
    assert {"inline of the role old", "inline of the user old", "inline of the group old"} < {r.name for r in found}


def test_a_record_names_its_zone(seen: Seen) -> None:
    (record,) = of(seen, "Route 53 record")
    assert record.name.startswith("db.old.internal CNAME in the zone ")
    assert (record.names, record.instead) == (HOST, NEW_HOST)


def test_no_secret_s_value_is_told(seen: Seen) -> None:
    assert of(seen, "secret")
    assert "never-shown" not in str(seen)


def test_what_aws_does_not_answer_is_unseen_and_the_others_are_found(seen: Seen) -> None:
    """This account knows nothing of AWS Backup's protected resources: it answers with an error."""
    references, unseen = seen
    assert [u.what for u in unseen] == ["AWS Backup"]
    assert references


class Denied(Aws):
    """An account that allows nothing."""

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        raise Failed(
            f"AWS refused {service} {operation}.", detail="AccessDenied", hint=f"permission {service}:{operation}"
        )


def test_every_reader_that_is_refused_says_what_it_lacked() -> None:
    references, unseen = find(Denied(REGION), OLD)
    assert references == ()
    assert [u.what for u in unseen] == [what for what, _ in READERS]
    assert all(u.remedy and u.remedy.startswith("permission ") for u in unseen)


class Answers(Aws):
    """An account with these answers, and nothing else."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        super().__init__(REGION)
        self.answers = answers

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        yield from self.answers.get(operation, [])


def test_a_proxy_in_front_of_the_old_server() -> None:
    proxy = {"DBProxyName": "pool", "Status": "available"}
    target = {"Type": "RDS_INSTANCE", "RdsResourceId": "orders"}
    (one,), _ = find(Answers(describe_db_proxies=[proxy], describe_db_proxy_targets=[target]), OLD)
    assert (one.kind, one.name) == ("RDS proxy", "pool")
    assert one.instead.startswith(
        "aws rds deregister-db-proxy-targets --db-proxy-name pool --db-instance-identifiers orders"
    )
    assert one.instead.endswith("register-db-proxy-targets --db-proxy-name pool --db-instance-identifiers copy")


@pytest.mark.parametrize(
    ("old", "arn"),
    [
        (OLD, "arn:aws:rds:eu-central-1:123456789012:db:orders"),
        (old_of(found_cluster(), "l/", "m/"), "arn:aws:rds:eu-central-1:123456789012:cluster:cluster-ORDERS"),
    ],
)
def test_what_aws_backup_protects(old: Any, arn: str) -> None:
    (one,), _ = find(Answers(list_protected_resources=[{"ResourceArn": arn}, {"ResourceArn": f"{arn}-2"}]), old)
    assert (one.kind, one.name) == ("AWS Backup", arn)
    assert old.target_arn in one.instead


def test_a_policy_on_the_old_arn() -> None:
    document = {"Statement": [{"Resource": OLD.arn}, {"Resource": f"{OLD.arn}-2"}]}
    role = {"RoleName": "app", "RolePolicyList": [{"PolicyName": "p", "PolicyDocument": document}]}

    class OneRole(Answers):
        def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
            if key == "RoleDetailList":
                yield role

    (one,), _ = find(OneRole(), OLD)
    assert (one.names, one.instead) == (OLD.arn, OLD.target_arn)


def test_where_the_old_host_is_not_known_what_needs_it_is_unseen() -> None:
    _, unseen = find(Answers(), replace(OLD, hosts=()))
    assert [u.what for u in unseen] == ["Route 53 records", "secrets", "DMS endpoints"]
    assert all("orders" in str(u.remedy) for u in unseen)
