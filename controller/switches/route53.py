"""Route 53: records of a hosted zone that name the database's host get the other side's.

    {"kind": "route53", "hostedZoneId": "Z0123456789", "records": ["db.orders.internal"]}

A record is a CNAME, or an A record where the host is an address. Clients follow when their resolver asks again: after
the change has spread over Route 53's servers (PENDING → INSYNC) and the record's TTL has passed. Until then they meet
the fence. A record has no port, so both sides must listen on the same one.
"""

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from encryptdb.controller.switches import Endpoint, Target, text
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.cloud.client import Aws
from encryptdb.stacks.contract.errors import Failed, Refused, Usage

INSYNC_SECONDS = 300.0
"""How long a change may stay PENDING; AWS says "generally within 60 seconds"."""

LOW_TTL = 60
"""Seconds: what is above this is advised against."""


@dataclass
class Route53:
    """Some records of one zone, all of which name the side that is left."""

    zone: str
    records: tuple[str, ...]
    from_: Endpoint
    to: Endpoint
    aws: Aws
    kind: str = "route53"
    _changed: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, document: Mapping[str, Any], target: Target) -> "Route53":
        """From the stack's config. Raises Usage."""
        records = document.get("records")
        if not isinstance(records, list | tuple) or not records or not all(isinstance(r, str) and r for r in records):
            raise Usage(f"records: expected a list of names, found {records!r}.")
        zone = text(document, "hostedZoneId").removeprefix("/hostedzone/")
        return cls(zone, tuple(records), target.from_, target.to, target.aws)

    @property
    def name(self) -> str:
        return f"{', '.join(self.records)} in the hosted zone {self.zone}"

    def probe(self) -> str | None:
        if self.from_.port != self.to.port:
            raise Refused(
                f"{self.name} cannot lead from port {self.from_.port} to port {self.to.port}.",
                detail="A record names a host, not a port.",
                hint="Give the target the source's port, or use another switch.",
            )
        if _type(self.from_) != _type(self.to):
            raise Refused(f"{self.name} cannot lead from {self.from_.host} to {self.to.host}: one is an address.")
        ttls = []
        for record in self.records:
            found = self._read(record, _type(self.from_))
            values = _values(found)
            if values != [_plain(self.from_.host)]:
                raise Refused(
                    f"The record {record} does not name {self.from_.host}.",
                    detail=f"It says {', '.join(values) or 'nothing'}.",
                    hint="It is changed only where it names the side that is left, and that alone.",
                )
            ttls.append(int(found["TTL"]))
        advice = "" if max(ttls) <= LOW_TTL else f"; with a TTL of {LOW_TTL} s or less they would come sooner"
        return f"{self.name}: clients follow up to {max(ttls)} s (the TTL) after the change has spread{advice}"

    def pause(self, seconds: float) -> None:
        """Nobody can be held back by a record."""

    def apply(self) -> None:
        self._point(self.to)

    def check(self) -> None:
        for record in self.records:
            values = _values(self._read(record, _type(self.to)))
            if values != [_plain(self.to.host)]:
                raise Failed(f"The record {record} does not name {self.to.host} after it was written: {values}.")

    def settle(self, reporter: Reporter, clock: Clock) -> None:
        """Wait until all of Route 53's servers answer with the new host. Raises Failed after INSYNC_SECONDS."""
        for change in self._changed:
            wait_until(
                lambda change=change: self._insync(change),  # type: ignore[misc]
                what=f"the change of {self.name} to spread (PENDING → INSYNC)",
                seconds=INSYNC_SECONDS,
                every=1.0,
                reporter=reporter,
                clock=clock,
                hint="The record is written; see `aws route53 get-change`. Clients follow when it has spread.",
            )
        self._changed.clear()

    def undo(self) -> None:
        self._point(self.from_)

    def resume(self) -> None:
        """Nobody was held back."""

    def release(self) -> dict[str, Any] | None:
        return None

    def _point(self, endpoint: Endpoint) -> None:
        """All records in one change, which happens wholly or not at all."""
        changes = []
        for record in self.records:
            found = self._read(record, _type(endpoint))
            if _values(found) != [_plain(endpoint.host)]:
                changed = found | {"ResourceRecords": [{"Value": endpoint.host}]}
                changes.append({"Action": "UPSERT", "ResourceRecordSet": changed})
        if changes:
            answer = self.aws.call(
                "route53",
                "change_resource_record_sets",
                HostedZoneId=self.zone,
                ChangeBatch={"Comment": f"encryptdb: to {endpoint.host}", "Changes": changes},
            )
            self._changed.append(answer["ChangeInfo"]["Id"])

    def _insync(self, change: str) -> bool | None:
        answer = self.aws.call("route53", "get_change", Id=change.rpartition("/")[2])
        return True if answer["ChangeInfo"]["Status"] == "INSYNC" else None

    def _read(self, record: str, kind: str) -> dict[str, Any]:
        """The one record set of this name and type. Raises Refused where there is none, or one that is not plain."""
        answer = self.aws.call(
            "route53",
            "list_resource_record_sets",
            HostedZoneId=self.zone,
            StartRecordName=record,
            StartRecordType=kind,
            MaxItems="2",
        )
        found = [s for s in answer["ResourceRecordSets"] if _plain(s["Name"]) == _plain(record) and s["Type"] == kind]
        if not found:
            raise Refused(
                f"The hosted zone {self.zone} has no {kind} record {record}.",
                hint="Name a record that applications use and that names the database's host itself.",
            )
        if len(found) > 1 or "SetIdentifier" in found[0] or "AliasTarget" in found[0]:
            raise Refused(
                f"The record {record} is an alias, or has a routing policy.",
                detail="Only a plain record says where everybody is sent.",
                hint="Name the plain record behind it.",
            )
        plain: dict[str, Any] = found[0]
        return plain


def _values(record: Mapping[str, Any]) -> list[str]:
    return [_plain(r["Value"]) for r in record.get("ResourceRecords", ())]


def _plain(name: str) -> str:
    """A name as it is compared: case and the last dot mean nothing in DNS."""
    return name.lower().rstrip(".")


def _type(endpoint: Endpoint) -> str:
    with contextlib.suppress(ValueError):
        return "AAAA" if ipaddress.ip_address(endpoint.host).version == 6 else "A"
    return "CNAME"
