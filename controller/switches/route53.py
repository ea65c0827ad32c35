"""Route 53: records of a hosted zone that name the database's host are changed to the arriving side's host.

    {"kind": "route53", "hostedZoneId": "Z0123456789", "records": ["db.orders.internal"]}

A record is a CNAME, or an A or AAAA record if the host is an address. Clients follow when their resolver asks again:
once the change has reached Route 53's servers (PENDING → INSYNC) and the record's TTL has passed. Until then the fence
refuses them. A record has no port, so both sides must listen on the same one.
"""

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from encryptdb.controller.switches import Context, Switch, text
from encryptdb.controller.waiting import Clock, Reporter, wait_until
from encryptdb.stacks.contract.errors import Failed, Refused, Usage

INSYNC_SECONDS = 300.0
"""How long a change may stay PENDING; AWS says "generally within 60 seconds"."""

LOW_TTL = 60
"""Seconds. A higher TTL gets a warning."""


@dataclass
class Route53(Switch):
    """Records of one zone, all of which name the leaving side."""

    zone: str
    records: tuple[str, ...]
    kind = "route53"
    _changed: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, document: Mapping[str, Any], context: Context) -> "Route53":
        records = document.get("records")
        if not isinstance(records, list | tuple) or not records or not all(isinstance(r, str) and r for r in records):
            raise Usage(f"records: expected a list of names, found {records!r}.")
        zone = text(document, "hostedZoneId").removeprefix("/hostedzone/")
        return cls(context, zone, tuple(records))

    @property
    def name(self) -> str:
        return f"{', '.join(self.records)} in the hosted zone {self.zone}"

    def probe(self) -> str | None:
        if self.from_.port != self.to.port:
            raise Refused(
                f"{self.name} cannot change the port from {self.from_.port} to {self.to.port}.",
                detail="A record names a host, not a port.",
                hint="Give the target the source's port, or use another switch.",
            )
        if record_type(self.from_.host) != record_type(self.to.host):
            raise Refused(
                f"{self.name} cannot be changed from {self.from_.host} to {self.to.host}.",
                detail="One is a name and the other an address, which take records of different types.",
            )
        ttls = []
        for record in self.records:
            found = self._read(record, self.from_.host)
            values = _values(found)
            if values != [plain_name(self.from_.host)]:
                raise Refused(
                    f"The record {record} does not name {self.from_.host}.",
                    detail=f"Its values are: {', '.join(values) or 'none'}.",
                    hint="Name a record that has the database's host as its only value, or remove it from this switch.",
                )
            ttls.append(int(found["TTL"]))
        advice = "" if max(ttls) <= LOW_TTL else f"; lower the TTL to {LOW_TTL} s or less to shorten this"
        return f"{self.name}: clients follow up to {max(ttls)} s (the TTL) after the change is INSYNC{advice}"

    def apply(self) -> None:
        """All records in one change, which AWS applies as a whole or not at all."""
        changes = []
        for record in self.records:
            found = self._read(record, self.to.host)
            if _values(found) != [plain_name(self.to.host)]:
                changed = found | {"ResourceRecords": [{"Value": self.to.host}]}
                changes.append({"Action": "UPSERT", "ResourceRecordSet": changed})
        if changes:
            answer = self.aws.call(
                "route53",
                "change_resource_record_sets",
                HostedZoneId=self.zone,
                ChangeBatch={"Comment": f"encryptdb: to {self.to.host}", "Changes": changes},
            )
            self._changed.append(answer["ChangeInfo"]["Id"])

    def check(self) -> None:
        for record in self.records:
            values = _values(self._read(record, self.to.host))
            if values != [plain_name(self.to.host)]:
                raise Failed(
                    f"The record {record} does not name {self.to.host} after it was written.",
                    detail=f"Its values are: {', '.join(values) or 'none'}.",
                )

    def settle(self, reporter: Reporter, clock: Clock) -> None:
        for change in self._changed:
            wait_until(
                lambda change=change: self._insync(change),  # type: ignore[misc]
                what=f"the change of {self.name} to become INSYNC",
                seconds=INSYNC_SECONDS,
                every=1.0,
                reporter=reporter,
                clock=clock,
                hint="The record is written, and clients follow once it is INSYNC: "
                f"aws route53 get-change --id {change}",
            )
        self._changed.clear()

    def _insync(self, change: str) -> bool | None:
        answer = self.aws.call("route53", "get_change", Id=change.rpartition("/")[2])
        return True if answer["ChangeInfo"]["Status"] == "INSYNC" else None

    def _read(self, record: str, host: str) -> dict[str, Any]:
        """The record set of this name, of the type that names such a host. Raises Refused if there is none, or it is
        an alias or has a routing policy."""
        kind = record_type(host)
        answer = self.aws.call(
            "route53",
            "list_resource_record_sets",
            HostedZoneId=self.zone,
            StartRecordName=record,
            StartRecordType=kind,
            MaxItems="2",
        )
        name = plain_name(record)
        found = [s for s in answer["ResourceRecordSets"] if plain_name(s["Name"]) == name and s["Type"] == kind]
        if not found:
            raise Refused(
                f"The hosted zone {self.zone} has no {kind} record {record}.",
                hint="Name a record whose value is the database's host, not another record.",
            )
        if len(found) > 1 or "SetIdentifier" in found[0] or "AliasTarget" in found[0]:
            raise Refused(
                f"The record {record} is an alias, or has a routing policy.",
                detail="Only a simple record has one value for all clients.",
                hint="Name the simple record behind it.",
            )
        plain: dict[str, Any] = found[0]
        return plain


def _values(record: Mapping[str, Any]) -> list[str]:
    return [plain_name(r["Value"]) for r in record.get("ResourceRecords", ())]


def plain_name(name: str) -> str:
    """A DNS name in the form in which two are compared: lower case, without the last dot."""
    return name.lower().rstrip(".")


def record_type(host: str) -> str:
    """The type of the record that has this host as its value: CNAME, or A or AAAA for an address."""
    with contextlib.suppress(ValueError):
        return "AAAA" if ipaddress.ip_address(host).version == 6 else "A"
    return "CNAME"


SWITCH = Route53
