"""The instances of a side: one, or the writer and the readers of a cluster; and what lies on their disks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3

from demo import proof
from encryptdb.lab.layout import Layout
from encryptdb.lab.processes import Owner
from encryptdb.lab.volumes import Volume


def volumes(lab: Path, environment: Mapping[str, str], side: Mapping[str, Any]) -> list[tuple[str, Volume]]:
    """The storage of each instance of a side, by the instance's identifier, a cluster's writer first."""
    session = boto3.session.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    rds: Any = session.client(
        "rds", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name=environment["AWS_REGION"]
    )
    found = []
    for identifier in side.get("members") or [side["identifier"]]:
        (instance,) = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        directory = Layout.of(lab).instances / instance["DbiResourceId"]
        found.append((identifier, Volume(directory, Owner.current(), None)))
    return found


def marker(text: str, source: list[tuple[str, Volume]], target: list[tuple[str, Volume]]) -> Iterator[proof.Check]:
    """Whether `text` can be read on the disks of the source's (first) instance and on none of the target's."""
    (_, plain), *_ = source
    for identifier, volume in target:
        found = proof.marker_encrypted(text, plain.mount, volume.cipher if volume.encrypted else None, volume.mount)
        yield found if len(target) == 1 else replace(found, claim=f"{found.claim} ({identifier})")
