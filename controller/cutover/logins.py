"""Whether applications will be able to log in to the other side, tested while it is still closed to them.

PostgreSQL authenticates before it checks CONNECT, so "permission denied for database" proves the password.
"""

from collections.abc import Iterable

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.switches import ApplicationLogin, Switch
from encryptdb.stacks.contract.errors import AGAIN, Refused


def known(switches: Iterable[Switch]) -> list[ApplicationLogin]:
    """Every login that the switches know. Raises a Problem where a secret cannot be read."""
    return [login for switch in switches for login in switch.logins()]


def probe(direction: Direction, logins: Iterable[ApplicationLogin]) -> int:
    """Try each on `to`; returns how many there were. Raises Refused, naming all that were rejected."""
    tried, wrong = 0, []
    for known_login in logins:
        names = [d.name for d in direction.databases]
        database = known_login.database if known_login.database in names else names[0]
        tried += 1
        said = direction.to.turns_away(database, known_login.login)
        if said is not None:
            wrong.append(f"{known_login.login.origin}, role {known_login.login.user!r}: {said}")
    if wrong:
        raise Refused(
            f"The {direction.to.side} rejects logins of applications.",
            detail=f"{'; '.join(wrong)}. Roles and passwords changed since the snapshot are on the "
            f"{direction.from_.side} only.",
            hint=f"On the {direction.to.side}, change the role to match the {direction.from_.side} (ALTER ROLE … "
            f"PASSWORD …), then: {AGAIN}",
        )
    return tried
