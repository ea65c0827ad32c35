"""The instances of a target cluster: as many as its source had when it was created, the writer first. Pure."""

from dataclasses import dataclass

from encryptdb.stacks.cloud.database import Database, Instance
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import AGAIN, Refused


@dataclass(frozen=True)
class Member:
    """One instance of the target, numbered from 1. Its settings come from `like`: itself, or the source's."""

    number: int
    identifier: str
    like: Instance


def members_of(identifier: str, source: Database | None, target: Database | None) -> tuple[Member, ...]:
    """The instances of the cluster `identifier`; none of an instance.

    Once the cluster exists, its tag holds their number: the source's readers may change. Raises Refused if there is no
    instance to copy settings from.
    """
    wanted = source.members if source else ()
    standing = own_members(target) if target else {}
    told = target.tags.get(names.MEMBERS, "") if target else ""
    if told.isdecimal():
        count = int(told)
    else:
        count = max(standing, default=len(wanted))
    return tuple(_member(identifier, n, standing, wanted, target) for n in range(1, count + 1))


def own_members(cluster: Database) -> dict[int, Instance]:
    """The instances of a target that the program made, by number; its owner may have added others."""
    numbers = {m.tags.get(names.MEMBER, ""): m for m in cluster.members}
    return {int(n): m for n, m in sorted(numbers.items()) if n.isdecimal()}


def _member(
    identifier: str,
    number: int,
    standing: dict[int, Instance],
    wanted: tuple[Instance, ...],
    target: Database | None,
) -> Member:
    if number in standing:
        return Member(number, standing[number].identifier, standing[number])
    others = target.members if target else ()
    like = next(iter((*wanted[number - 1 : number], *others, *wanted)), None)
    if like is None:
        raise Refused(
            f"The cluster {identifier} has no instance left, and there is no source to copy one from.",
            hint=f"Create an instance {names.member(identifier, number)} in it, then: {AGAIN}",
        )
    return Member(number, names.member(identifier, number), like)
