"""Whether applications will be able to log in to the side they are sent to, learnt while it is still closed to them.

A server checks the password first and the right to CONNECT afterwards. So "permission denied for database" is what a
right password gets from a closed database, and it proves the password as well as being let in would.
"""

from collections.abc import Iterable

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.switches import ApplicationLogin, Switch
from encryptdb.stacks.contract.errors import Refused


def known(switches: Iterable[Switch]) -> list[ApplicationLogin]:
    """Every login that the switches know. Raises a Problem where a secret cannot be read."""
    return [login for switch in switches for login in switch.logins()]


def probe(direction: Direction, logins: Iterable[ApplicationLogin]) -> int:
    """Try each on the arriving side; how many there were. Raises Refused, naming all that are turned away."""
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
            f"The {direction.to.side} would turn applications away.",
            detail=(
                f"It refuses {'; '.join(wrong)}. Roles and passwords that changed after the snapshot are on the "
                f"{direction.from_.side} only."
            ),
            hint=(
                f"On the {direction.to.side}, make the role as it is on the {direction.from_.side} (ALTER ROLE …"
                " PASSWORD …), then run the command again."
            ),
        )
    return tried
