"""A real server's log, served in the form of the RDS and CloudWatch APIs, in small portions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from encryptdb.stacks.cloud.client import NotFound
from tests.kit.servers import Server


@dataclass
class LogApi:
    """AWS as far as the search asks it: one instance, its log files, its log group. The log is a real server's."""

    server: Server
    created: datetime | None = None
    region: str = "eu-central-1"
    files_there: bool = True
    group_there: bool = False
    portion: int = 700
    group: str = "default"
    asked: list[str] = field(default_factory=list)

    def call(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        self.asked.append(operation)
        if operation == "describe_db_instances":
            return {"DBInstances": [instance(given["DBInstanceIdentifier"], self.created, self.group)]}
        if operation == "describe_db_clusters":
            return {"DBClusters": [cluster(given["DBClusterIdentifier"])]}
        if operation == "get_parameter":
            raise NotFound("AWS knows no such thing.")
        assert operation == "download_db_log_file_portion", operation
        if not self.files_there:
            raise NotFound("AWS knows no such thing.")
        start = int(given["Marker"])
        text = self.server.log_text()
        return {
            "LogFileData": text[start : start + self.portion],
            "Marker": str(start + self.portion),
            "AdditionalDataPending": start + self.portion < len(text),
        }

    def pages(self, service: str, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(operation)
        if operation == "describe_db_log_files":
            if self.files_there:
                yield {"LogFileName": "error/postgresql.log.2024-04-27-12", "LastWritten": 4_000_000_000_000, "Size": 1}
            return
        if operation == "describe_db_instances":
            (name,) = given["Filters"][0]["Values"]
            yield instance(f"{name}-1", self.created)
            return
        assert operation == "filter_log_events", operation
        if not self.group_there:
            raise NotFound("AWS knows no such thing.")
        stream = given["logGroupName"].split("/")[4]
        if "/cluster/" in given["logGroupName"]:
            # A reader recovers as well, and ends somewhere else.
            yield {"logStreamName": f"{stream}-2.0", "message": "LOG:  redo done at 0/1"}
            stream += "-1"
        for line in self.server.log_text().splitlines():
            yield {"logStreamName": f"{stream}.0", "message": line}


def cluster(identifier: str) -> dict[str, Any]:
    """The part of a DescribeDBClusters answer that `controller.engines.aurora` reads: one writer, one reader."""
    members = [{"DBInstanceIdentifier": f"{identifier}-{n}", "IsClusterWriter": n == 1} for n in (2, 1)]
    return {
        "DBClusterIdentifier": identifier,
        "DbClusterResourceId": f"cluster-{identifier}",
        "Status": "available",
        "Engine": "aurora-postgresql",
        "DBClusterMembers": members,
    }


def instance(identifier: str, created: datetime | None, group: str = "default") -> dict[str, Any]:
    """The part of a DescribeDBInstances answer that `controller.engines.rds` reads."""
    return {
        "DBInstanceIdentifier": identifier,
        "DbiResourceId": f"db-{identifier}",
        "DBInstanceArn": f"arn:aws:rds:eu-central-1:123456789012:db:{identifier}",
        "DBInstanceStatus": "available",
        "Engine": "postgres",
        "InstanceCreateTime": created,
        "DBParameterGroups": [{"DBParameterGroupName": group, "ParameterApplyStatus": "in-sync"}],
    }
