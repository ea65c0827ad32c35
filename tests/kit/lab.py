"""A lab for tests: `start_lab(directory)` gives one that is ready, with the environment a command needs to use it."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg.rows import TupleRow

from encryptdb.lab.layout import Layout
from encryptdb.lab.pulumi.up import enter
from encryptdb.lab.start import Wanted, start
from encryptdb.lab.stop import stop

ROOT = Path(__file__).resolve().parents[2]
TRANSITION_SECONDS = 120.0


@dataclass
class Lab:
    """A running lab. `document` is what `lab start --json` prints; `env` is a whole environment for a subprocess."""

    directory: Path
    document: dict[str, Any]
    env: dict[str, str]
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> dict[str, Any]:
        return dict(self.document["source"])

    def client(self, service: str) -> Any:
        if service not in self.clients:
            session = boto3.session.Session("test", "test", region_name=self.document["region"])
            client = session.client(service, endpoint_url=self.document["endpoint_url"])  # type: ignore[call-overload]
            self.clients[service] = client
        return self.clients[service]

    def connect(
        self,
        database: str | None = None,
        instance: str | None = None,
        user: str = "master",
        password: str | None = None,
    ) -> "psycopg.Connection[TupleRow]":
        """An autocommit session as a client of RDS would have it: TLS verified, unless this build has none.

        Of a cluster, the name (`instance`) leads to its writer.
        """
        host, port = self.address(instance or self.source["identifier"])
        tls = (
            {"sslmode": "verify-full", "sslrootcert": self.env["PGSSLROOTCERT"]}
            if self.document["tls"]
            else {"sslmode": "disable"}
        )
        return psycopg.connect(
            host=host,
            port=port,
            user=user,
            password=password or self.source["password"],
            dbname=database or self.source["databases"][0],
            autocommit=True,
            connect_timeout=10,
            **tls,  # type: ignore[arg-type]
        )

    def show(self, setting: str, instance: str | None = None, database: str | None = None) -> str:
        """The value of a parameter in a new session."""
        with self.connect(database, instance) as connection:
            row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
            assert row is not None
            return str(row[0])

    def address(self, identifier: str) -> tuple[str, int]:
        """Host and port of an instance, or of a cluster's endpoint."""
        for cluster in self.client("rds").describe_db_clusters()["DBClusters"]:
            if cluster["DBClusterIdentifier"] == identifier:
                return cluster["Endpoint"], cluster["Port"]
        endpoint = self.instance(identifier)["Endpoint"]
        return endpoint["Address"], endpoint["Port"]

    def instance(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)[
            "DBInstances"
        ][0]
        return found

    def snapshot(self, identifier: str) -> dict[str, Any]:
        rds = self.client("rds")
        found: dict[str, Any] = rds.describe_db_snapshots(DBSnapshotIdentifier=identifier)["DBSnapshots"][0]
        return found

    def cluster(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("rds").describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        return found

    def cluster_snapshot(self, identifier: str) -> dict[str, Any]:
        rds = self.client("rds")
        answer = rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=identifier)
        found: dict[str, Any] = answer["DBClusterSnapshots"][0]
        return found

    def settled(self, identifier: str, status: str = "available") -> list[str]:
        """Wait until the instance is in this state and no group is being applied; the states seen on the way."""
        return self._wait(
            lambda: (
                (i := self.instance(identifier))["DBInstanceStatus"],
                i["DBParameterGroups"][0]["ParameterApplyStatus"] != "applying",
            ),
            status,
            f"the instance {identifier}",
        )

    def settled_anywhere(self, resource: str) -> str:
        """Wait until the instance with this resource id is available under whatever name; the name."""
        filters = [{"Name": "dbi-resource-id", "Values": [resource]}]
        name = ""

        def look() -> tuple[str, bool]:
            nonlocal name
            (found,) = self.client("rds").describe_db_instances(Filters=filters)["DBInstances"]
            name = found["DBInstanceIdentifier"]
            return found["DBInstanceStatus"], True

        self._wait(look, "available", f"the instance {resource}")
        return name

    def cluster_settled(self, identifier: str, status: str = "available") -> list[str]:
        """Wait until the cluster and all of its instances are in this state; the cluster's states seen on the way."""

        def look() -> tuple[str, bool]:
            found = self.cluster(identifier)
            members = [self.instance(m["DBInstanceIdentifier"]) for m in found["DBClusterMembers"]]
            return found["Status"], all(m["DBInstanceStatus"] == status for m in members)

        return self._wait(look, status, f"the cluster {identifier}")

    def cluster_gone(self, identifier: str) -> list[str]:
        """Wait until the cluster is deleted; the states seen on the way."""

        def look() -> tuple[str, bool]:
            found = self.client("rds").describe_db_clusters()["DBClusters"]
            states = [c["Status"] for c in found if c["DBClusterIdentifier"] == identifier]
            return (states or ["gone"])[0], True

        return self._wait(look, "gone", f"the cluster {identifier}")[:-1]

    def cluster_snapshot_settled(self, identifier: str, status: str = "available") -> list[str]:
        """Wait until the cluster snapshot is in this state; the states seen on the way."""
        what = f"the cluster snapshot {identifier}"
        return self._wait(lambda: (self.cluster_snapshot(identifier)["Status"], True), status, what)

    def gone(self, identifier: str) -> list[str]:
        """Wait until the instance is deleted; the states seen on the way."""

        def look() -> tuple[str, bool]:
            found = self.client("rds").describe_db_instances()["DBInstances"]
            states = [i["DBInstanceStatus"] for i in found if i["DBInstanceIdentifier"] == identifier]
            return (states or ["gone"])[0], True

        return self._wait(look, "gone", f"the instance {identifier}")[:-1]

    def snapshot_settled(self, identifier: str, status: str = "available") -> list[str]:
        """Wait until the snapshot is in this state; the states seen on the way."""
        return self._wait(lambda: (self.snapshot(identifier)["Status"], True), status, f"the snapshot {identifier}")

    def prepared(self, stack: str, resource_id: str | None = None, attempt: int = 1) -> None:
        """Write the parameter that `controller prepare` writes when it has finished; for the lab's own source unless
        told otherwise."""
        document = {
            "source_resource_id": resource_id or self.source["resource_id"],
            "attempt": attempt,
            "slots": {},
            "time": "2024-05-01T12:00:00Z",
        }
        self.client("ssm").put_parameter(
            Name=f"/encryptdb/{stack}/prepared", Type="String", Value=json.dumps(document), Overwrite=True
        )

    def not_prepared(self, stack: str) -> None:
        """Delete it, as `controller retire` and `controller abandon` do."""
        self.client("ssm").delete_parameter(Name=f"/encryptdb/{stack}/prepared")

    def ended(self, target: str, how: str = "retired") -> None:
        """Tag an instance or a cluster as `controller retire` and `controller abandon` do."""
        rds = self.client("rds")
        listed = rds.describe_db_instances()["DBInstances"] + rds.describe_db_clusters()["DBClusters"]
        found = {d.get("DBInstanceIdentifier") or d["DBClusterIdentifier"]: d for d in listed}[target]
        arn = found.get("DBInstanceArn") or found["DBClusterArn"]
        rds.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "encryptdb:state", "Value": how}])

    def create(self, name: str, **more: Any) -> None:
        """A small instance, once it is available; `more` goes to CreateDBInstance."""
        given = {
            "DBInstanceClass": "db.t4g.micro",
            "Engine": "postgres",
            "AllocatedStorage": 20,
            "MasterUsername": "master",
            "MasterUserPassword": self.source["password"],
            "BackupRetentionPeriod": 0,
        }
        self.client("rds").create_db_instance(DBInstanceIdentifier=name, **(given | more))
        self.settled(name)

    def stop(self) -> None:
        stop(Layout.of(self.directory), lambda _: None)

    @staticmethod
    def _wait(look: Callable[[], tuple[str, bool]], status: str, what: str) -> list[str]:
        seen: list[str] = []
        deadline = time.monotonic() + TRANSITION_SECONDS
        while time.monotonic() < deadline:
            now, quiet = look()
            if not seen or seen[-1] != now:
                seen.append(now)
            if now == status and quiet:
                return seen
            time.sleep(0.03)
        raise AssertionError(f"{what} did not become {status} within {TRANSITION_SECONDS:g} s: {seen}")


def start_lab(
    directory: Path,
    databases: Sequence[str] = ("orders",),
    pg_bin: Path | None = None,
    delay: float = 0.0,
    engine: str = "rds",
) -> Lab:
    """A ready lab in `directory` (new or empty). The caller stops it. LAB_PG_BIN names other servers to test on."""
    if pg_bin is None and "LAB_PG_BIN" in os.environ:
        pg_bin = Path(os.environ["LAB_PG_BIN"])
    document = start(Wanted(directory, tuple(databases), engine=engine, pg_bin=pg_bin, delay=delay), lambda _: None)
    return Lab(directory, document, environment(directory))


@contextmanager
def entered(directory: Path, engine: str = "rds", delay: float = 0.1) -> Iterator[Lab]:
    """A lab that this very process uses, as after `. DIR/env`; nothing of it is left afterwards."""
    before = dict(os.environ)
    made = start_lab(directory, engine=engine, delay=delay)
    try:
        enter(directory)
        yield made
    finally:
        made.stop()
        os.environ.clear()
        os.environ.update(before)


def environment(directory: Path) -> dict[str, str]:
    """The caller's environment without its own AWS and libpq settings, and with DIR/env's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PG", "LAB_", "ENCRYPTDB_"))}
    added = {}
    for line in (directory / "env").read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        added[name] = value.strip("'")
    return {**kept, **added, "PYTHONPATH": str(ROOT)}
