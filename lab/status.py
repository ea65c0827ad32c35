"""`lab status`: what runs. Shows no password."""

import json
from typing import Any

import boto3

from encryptdb.lab import stop
from encryptdb.lab.errors import LabError
from encryptdb.lab.layout import Layout

NOT_YET = 3


def require_running(layout: Layout) -> dict[str, Any]:
    """The server process's document. Raises LabError: status 3 where no lab is, 1 where its server process died."""
    if not layout.settings.exists():
        raise LabError(
            f"there is no lab in {layout.directory}",
            hint=f"python -m lab start --dir {layout.directory}",
            status=NOT_YET,
        )
    if stop.server_pid(layout) is None:
        raise LabError(
            f"the server process of the lab in {layout.directory} is gone",
            "its AWS endpoint does not answer any more; its PostgreSQL servers may still run",
            f"python -m lab stop --dir {layout.directory} ends them; {layout.log} may say why",
        )
    document: dict[str, Any] = json.loads(layout.server.read_text())
    return document


def read(layout: Layout) -> dict[str, Any]:
    """The lab as one document."""
    server = require_running(layout)
    session = boto3.session.Session("test", "test", region_name="eu-central-1")
    rds = session.client("rds", endpoint_url=server["endpoint_url"])
    instances = rds.describe_db_instances()["DBInstances"]
    snapshots = rds.describe_db_snapshots()["DBSnapshots"]
    clusters = rds.describe_db_clusters()["DBClusters"]
    of_clusters = rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]
    return {
        "endpoint_url": server["endpoint_url"],
        "directory": str(layout.directory),
        "postgres_version": server["version"],
        "tls": server["tls"],
        "encrypted_storage": server["encrypted_storage"],
        "instances": [
            {
                "identifier": i["DBInstanceIdentifier"],
                "status": i["DBInstanceStatus"],
                "host": i.get("Endpoint", {}).get("Address"),
                "port": i.get("Endpoint", {}).get("Port"),
                "encrypted": i["StorageEncrypted"],
                "parameters": i["DBParameterGroups"][0]["ParameterApplyStatus"],
            }
            for i in instances
        ],
        "snapshots": [
            {"identifier": s["DBSnapshotIdentifier"], "status": s["Status"], "encrypted": s["Encrypted"]}
            for s in snapshots
        ],
        "clusters": [
            {
                "identifier": c["DBClusterIdentifier"],
                "status": c["Status"],
                "host": c["Endpoint"],
                "reader_host": c["ReaderEndpoint"],
                "port": c["Port"],
                "encryption": c["StorageEncryptionType"],
                "members": [
                    {
                        "identifier": m["DBInstanceIdentifier"],
                        "writer": m["IsClusterWriter"],
                        "parameters": m["DBClusterParameterGroupStatus"],
                    }
                    for m in c["DBClusterMembers"]
                ],
            }
            for c in clusters
        ],
        "cluster_snapshots": [
            {
                "identifier": s["DBClusterSnapshotIdentifier"],
                "status": s["Status"],
                "encryption": s["StorageEncryptionType"],
            }
            for s in of_clusters
        ],
    }


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    text = [f"AWS endpoint    {document['endpoint_url']}", f"PostgreSQL      {document['postgres_version']}"]
    text.append(f"storage         encrypted instances: {document['encrypted_storage']}")
    for c in document["clusters"]:
        at = f"{c['host']}:{c['port']}, readers at {c['reader_host']}"
        text.append(f"cluster         {c['identifier']}: {c['status']}, encryption {c['encryption']}, {at}")
    for i in document["instances"]:
        kind = "encrypted" if i["encrypted"] else "unencrypted"
        text.append(
            f"instance        {i['identifier']}: {i['status']}, {kind}, {i['host']}:{i['port']}, {i['parameters']}"
        )
    for s in document["snapshots"]:
        text.append(
            f"snapshot        {s['identifier']}: {s['status']}, {'encrypted' if s['encrypted'] else 'unencrypted'}"
        )
    for s in document["cluster_snapshots"]:
        text.append(f"snapshot        {s['identifier']} of a cluster: {s['status']}, encryption {s['encryption']}")
    return text
