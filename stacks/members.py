"""Which instances a target cluster has. Pure: as many as its source had when it was made, the writer first."""

from dataclasses import dataclass

from encryptdb.stacks.cloud.database import Database, Instance
from encryptdb.stacks.contract import names
from encryptdb.stacks.contract.errors import Refused


@dataclass(frozen=True)
class Member:
    """One instance of the target, counted from 1. `like` is where its settings come from: itself, or the source's."""

    number: int
    identifier: str
    like: Instance


def members_of(identifier: str, source: Database | None, target: Database | None) -> tuple[Member, ...]:
    """The instances of the cluster `identifier`; none of an instance.

    Once the cluster is there, its own tag says how many they are: the source may gain and lose readers from then on.
    Raises Refused where nothing tells what an instance should be like.
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
            f"The cluster {identifier} has no instance left, and there is no source to tell what one should be like.",
            hint=f"Create an instance {names.member(identifier, number)} in it, then run this again.",
        )
    return Member(number, names.member(identifier, number), like)
