"""What both servers and AWS say at one moment, read into one frozen value. Decides nothing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from encryptdb.controller.migration import Migration
from encryptdb.controller.observed_server import Database, ObservedServer, observe_server, to_migrate
from encryptdb.controller.postgres.server import SideName
from encryptdb.controller.records import Records
from encryptdb.stacks.cloud import prepared_parameter
from encryptdb.stacks.cloud.prepared_parameter import PreparedParameter
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Problem, Refused
from encryptdb.stacks.contract.names import Ending


@dataclass(frozen=True)
class Observed:
    """Both servers and, where they matter, the prepared parameter and the target's tag, at one moment.

    A side is None where the stack has none, or where it could not be read: then its problem says why. `ending` is None
    where the tag is not there or was not asked for; `aws_problem` says why AWS could not be asked.
    """

    at: datetime
    source: ObservedServer | None
    target: ObservedServer | None
    source_problem: Problem | None = None
    target_problem: Problem | None = None
    prepared_parameter: PreparedParameter | None = None
    ending: Ending | None = None
    aws_problem: Problem | None = None

    @property
    def sides(self) -> tuple[ObservedServer, ...]:
        return tuple(side for side in (self.source, self.target) if side is not None)

    @property
    def records(self) -> Records:
        """The records that decide: those of the side that serves. Empty where there are none."""
        deciding = self.target if self.serving == "target" else self.source
        return (deciding.records if deciding else None) or Records()

    @property
    def serving(self) -> SideName:
        """The side with the higher epoch among those that were read. `state.decide` says whether that is known."""
        source, target = self.source.records if self.source else None, self.target.records if self.target else None
        return "target" if _epoch(target) > _epoch(source) else "source"

    @property
    def read(self) -> frozenset[SideName]:
        """The sides that answered."""
        found: dict[SideName, ObservedServer | None] = {"source": self.source, "target": self.target}
        return frozenset(name for name, side in found.items() if side is not None)

    @property
    def next_epoch(self) -> int:
        """The epoch of the next OPEN."""
        return 1 + max((side.records.epoch for side in self.sides if side.records is not None), default=0)

    @property
    def migrated(self) -> tuple[Database, ...]:
        """The databases that move: recorded by `prepare`; before that, those that would."""
        server = self.source or self.target
        return self.migrated_on(server) if server is not None else ()

    def migrated_on(self, server: ObservedServer) -> tuple[Database, ...]:
        """The same, as one server has them."""
        listed = self.records.databases
        if listed is None:
            return to_migrate(server)
        wanted = {d.oid for d in listed.listed}
        return tuple(d for d in server.databases if d.oid in wanted)


def _epoch(records: Records | None) -> int:
    return records.epoch if records is not None else 0


def observe(m: Migration, *, need: Collection[SideName] = (), partial: bool = False) -> Observed:
    """Read both servers and what AWS keeps. A side that does not answer is None, and its problem is kept. With
    `partial`, a privilege that the role lacks leaves out what takes it, not the side: preflight names the privilege.

    Raises the problem of a side that is in `need`.
    """
    sides: dict[SideName, ObservedServer] = {}
    problems: dict[SideName, Problem] = {}
    # In the phase `retire` the stack no longer reads the source, so it names no address.
    for server in (s for s in m.sides() if s.host):
        try:
            sides[server.side] = observe_server(server, partial=partial)
        except Refused:
            raise
        except Problem as problem:
            if server.side in need:
                raise
            problems[server.side] = problem
    parameter, ending, aws_problem = _in_aws(m, sides)
    return Observed(
        at=_now(m, sides),
        source=sides.get("source"),
        target=sides.get("target"),
        source_problem=problems.get("source"),
        target_problem=problems.get("target"),
        prepared_parameter=parameter,
        ending=ending,
        aws_problem=aws_problem,
    )


def _now(m: Migration, sides: Mapping[SideName, ObservedServer]) -> datetime:
    for server in m.sides():
        if server.side in sides:
            return cast(datetime, server.value("SELECT clock_timestamp()", database="postgres"))
    return datetime.now(UTC)


def _in_aws(
    m: Migration, sides: Mapping[SideName, ObservedServer]
) -> tuple[PreparedParameter | None, Ending | None, Problem | None]:
    """The prepared parameter and the tag on the target. Asked only when they matter: before there is a target, and once
    a control database is gone or going."""
    target = m.outputs.target
    ended = any(s.records is None or s.records.retired or s.records.abandoned for s in sides.values())
    if target is not None and sides and not ended:
        return None, None, None
    try:
        parameter = prepared_parameter.read(m.aws, m.outputs.stack, lenient=True)
        found = m.engine.find(target.identifier) if target is not None else None
        told = found.tags.get(names.STATE) if found and target and found.resource_id == target.resource_id else None
        return parameter, Ending(told) if told in set(Ending) else None, None
    except Problem as problem:
        return None, None, problem
