"""The example pipeline as its runners have it: every job in a checkout of its own, nothing kept but what AWS and the
backend keep; and databases to migrate by it."""

import json
import os
import secrets
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg

from encryptdb.lab.pulumi.cli import Cli
from tests.engine.engines import ROOT, lay_project, start

JOB_SECONDS = 400.0
"""For one job, on a machine that does much else."""

TABLE = """
CREATE TABLE entries (id int NOT NULL, at timestamptz DEFAULT clock_timestamp());
ALTER TABLE entries REPLICA IDENTITY FULL;
"""
"""Without a key: a row that is repeated would stand there twice."""


@dataclass
class Job:
    """One job that ended: its exit status, what its summary says, and its log."""

    status: int
    summary: str
    log: str

    def ended(self, status: int, *told: str) -> "Job":
        assert self.status == status, self.summary + self.log
        for words in told:
            assert words in self.summary, self.summary + self.log
        return self


@dataclass
class Pipeline:
    """The owner's repository, `yamls`, and where its jobs run."""

    cli: Cli
    place: Path
    jobs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def yamls(self) -> Path:
        return self.place / "yamls"

    def configure(self, stack: str, **values: str) -> None:
        """Write the stack's YAML file, as a person would commit it."""
        self.yamls.mkdir(parents=True, exist_ok=True)
        path = self.yamls / f"Pulumi.{stack}.yaml"
        kept = dict(line.strip().split(": ", 1) for line in path.read_text().splitlines()[2:]) if path.exists() else {}
        kept |= {"aws:region": "eu-central-1"} | {f"encryptdb:{key}": value for key, value in values.items()}
        path.write_text("# One database.\nconfig:\n" + "".join(f"  {k}: {v}\n" for k, v in kept.items()))

    def run(self, job: str, stack: str, **environment: str) -> Job:
        """Check out, and run one job to its end."""
        process, checkout = self.begin(job, stack, **environment)
        return self.end(process, checkout)

    def begin(self, job: str, stack: str, **environment: str) -> "tuple[subprocess.Popen[str], Path]":
        with self.lock:
            self.jobs += 1
            checkout = self.place / f"checkout-{self.jobs}"
        lay_project(checkout)
        shutil.copytree(ROOT / "examples", checkout / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        for path in self.yamls.glob("Pulumi.*.yaml"):
            shutil.copy(path, checkout / "stacks")
        # In LAB_DIR the controller would look for outputs of `lab up`.
        known = {k: v for k, v in self.cli.environment().items() if k != "LAB_DIR" and not k.startswith("ENCRYPTDB_")}
        given = {"GITHUB_STEP_SUMMARY": str(checkout / "summary.md"), "NO_COLOR": "1", "ENCRYPTDB_AGAIN_SECONDS": "1"}
        command = ["sh", "examples/pipeline.sh", job, stack]
        return start(command, checkout, known | given | environment), checkout

    def end(self, process: "subprocess.Popen[str]", checkout: Path) -> Job:
        out, err = process.communicate(timeout=JOB_SECONDS)
        summary = checkout / "summary.md"
        ended = Job(process.returncode, summary.read_text() if summary.exists() else "", out + err)
        for path in self.yamls.glob("Pulumi.*.yaml"):
            # Apart from what the CLI adds to every stack, the checkout says what was committed.
            left = [line for line in (checkout / "stacks" / path.name).read_text().splitlines() if line]
            assert [line for line in left if not line.startswith("encryptionsalt")] == path.read_text().splitlines()
        return ended

    def states(self) -> dict[str, str]:
        """Every stack's state as it lies in the backend."""
        return {path.stem: path.read_text() for path in self.cli.backend.rglob("stacks/*/*.json")}

    def state(self, stack: str) -> str:
        return self.states()[stack]

    def outputs(self, stack: str) -> dict[str, Any]:
        resources = json.loads(self.state(stack))["checkpoint"]["latest"]["resources"]
        return dict(next(r["outputs"] for r in resources if r["type"] == "pulumi:pulumi:Stack"))


@dataclass
class Database:
    """An unencrypted instance with one table, and a writer that goes where the applications go."""

    name: str
    secret_arn: str
    password: str
    side: dict[str, Any]
    written: list[int] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        tls = {"sslmode": "disable"} if os.environ.get("PGSSLMODE") == "disable" else {"sslmode": "verify-full"}
        return psycopg.connect(
            host=self.side["host"],
            port=self.side["port"],
            user="master",
            password=self.password,
            dbname="app",
            autocommit=True,
            connect_timeout=5,
            **tls,  # type: ignore[arg-type]
        )

    def write(self, rows: int) -> None:
        with self.connect() as connection:
            for _ in range(rows):
                connection.execute("INSERT INTO entries (id) VALUES (%s)", [len(self.written) + 1])
                self.written.append(len(self.written) + 1)

    def write_on(self) -> threading.Thread:
        """Go on writing until `stopping`, whatever happens to the connection."""

        def run() -> None:
            while not self.stopping.is_set():
                try:
                    # A commit whose answer was lost did happen, or did not: the table knows.
                    self.written += self.rows()[len(self.written) :]
                    while not self.stopping.is_set():
                        self.write(1)
                        time.sleep(0.02)
                except (psycopg.Error, OSError):
                    time.sleep(0.1)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def rows(self) -> list[int]:
        with self.connect() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM entries ORDER BY id").fetchall()]


def make_databases(names: list[str]) -> dict[str, Database]:
    """Create the instances, all at once, each with its own security group and a secret of the controller's."""
    rds, ec2, keeper = boto3.client("rds"), boto3.client("ec2"), boto3.client("secretsmanager")
    passwords = {name: secrets.token_urlsafe(12) for name in names}
    for name in names:
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            DBName="app",
            MasterUsername="master",
            MasterUserPassword=passwords[name],
            BackupRetentionPeriod=0,
            EnableCloudwatchLogsExports=["postgresql"],
            VpcSecurityGroupIds=[ec2.create_security_group(GroupName=name, Description=name)["GroupId"]],
        )
    found = {}
    for name in names:
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=name, WaiterConfig={"Delay": 1})
        endpoint = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["Endpoint"]
        login = json.dumps({"username": "master", "password": passwords[name]})
        arn = keeper.create_secret(Name=f"encryptdb/{name}", SecretString=login)["ARN"]
        side = {"host": endpoint["Address"], "port": endpoint["Port"]}
        found[name] = Database(name, arn, passwords[name], side)
        with found[name].connect() as connection:
            connection.execute(TABLE)
        found[name].write(20)
    return found


OF_AN_INSTANCE = (
    "DbiResourceId",
    "DBInstanceStatus",
    "DBInstanceClass",
    "DBParameterGroups",
    "VpcSecurityGroups",
    "TagList",
)


def account() -> dict[str, Any]:
    """What AWS has, by name: what would show that something was touched."""
    rds, ec2 = boto3.client("rds"), boto3.client("ec2")
    found: dict[str, Any] = {}
    for i in rds.describe_db_instances()["DBInstances"]:
        found[i["DBInstanceIdentifier"]] = {key: i.get(key) for key in OF_AN_INSTANCE}
    for s in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
        found[s["DBSnapshotIdentifier"]] = (s["Status"], s["SnapshotCreateTime"], s["TagList"])
    for g in rds.describe_db_parameter_groups()["DBParameterGroups"]:
        name = g["DBParameterGroupName"]
        if not name.startswith("default."):
            pages = rds.get_paginator("describe_db_parameters").paginate(DBParameterGroupName=name, Source="user")
            found[name] = [(p["ParameterName"], p["ParameterValue"]) for page in pages for p in page["Parameters"]]
    for r in ec2.describe_security_group_rules()["SecurityGroupRules"]:
        found[r["SecurityGroupRuleId"]] = sorted((t["Key"], t["Value"]) for t in r.get("Tags", ()))
    return found


def of_stack(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The part of an account that is one stack's: its source, and what carries its name or its tag."""
    tags = [str(t) for t in ({"Key": "encryptdb:stack", "Value": name}, ("encryptdb:stack", name))]
    named = (name, f"encryptdb-{name}-")
    return {k: v for k, v in found.items() if k.startswith(named) or any(tag in str(v) for tag in tags)}
