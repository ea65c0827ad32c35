"""The left side's own subscriptions to other servers.

The lasting fence may not keep their workers out: an apply worker connects as its subscription's owner, and if that is
the controller's role (on RDS below 16 the master) or a superuser, it would keep writing on the side that was left. So
they are recorded and disabled before the pause, and enabled again if the move fails. Their publishers' slots keep the
changes.
"""

from psycopg import errors, sql

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import control, subscriptions
from encryptdb.controller.records import DisabledSubscriptions
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.contract.errors import AGAIN, Refused

ENABLED_SQL = """
-- Enabled subscriptions in these databases. Ours on the left side are disabled until the move is done.
SELECT d.datname::text, s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
 WHERE s.subdbid = ANY (%s) AND s.subenabled ORDER BY 1, 2
"""


def enabled(direction: Direction) -> list[tuple[str, str]]:
    """(database, name) of each."""
    return [(d, s) for d, s in direction.from_.rows(None, ENABLED_SQL, [[d.oid for d in direction.databases]])]


def disable(direction: Direction, reporter: Reporter) -> None:
    """Record and disable them. Raises Refused if the role may not disable one."""
    found = enabled(direction)
    if not found:
        return
    control.write(direction.from_, DisabledSubscriptions({d: tuple(s for e, s in found if e == d) for d, _ in found}))
    for database, name in found:
        reporter.say(
            f"disabling the subscription {name} in {database!r}: it will not follow to the {direction.to.side}"
        )
        with direction.from_.translated(database):
            try:
                alter = sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name))
                direction.from_.db(database).execute(alter)
            except errors.InsufficientPrivilege:
                raise Refused(
                    f"Database {database!r} on the {direction.from_.side} has a subscription of its own, {name!r}.",
                    detail="It would keep writing there after the cutover, and this role may not disable it.",
                    hint=f"As its owner: ALTER SUBSCRIPTION {name} DISABLE; then: {AGAIN}",
                ) from None


def enable_again(direction: Direction) -> None:
    """Enable those that `disable` recorded. Safe to repeat, and if nothing was recorded."""
    for database, names in _disabled(direction).items():
        for name in names:
            query = "SELECT FROM pg_subscription WHERE subname = %s"
            if direction.from_.row(query, [name], database=database) is not None:
                subscriptions.enable(direction.from_, database, name)
    control.forget(direction.from_, DisabledSubscriptions)


def refuse_enabled(direction: Direction) -> None:
    """Inside the pause: raise Refused if one was enabled or created since."""
    found = enabled(direction)
    if found:
        raise Refused(
            f"A subscription was enabled on the {direction.from_.side} during the {direction.name}.",
            detail="; ".join(f"{name} in {database}" for database, name in found)
            + f". It would keep writing there after the {direction.name}.",
            hint=f"Disable it, then: {AGAIN}",
        )


def leave_behind(direction: Direction, reporter: Reporter) -> None:
    """The move is done: report which subscriptions stay disabled, and journal it on the side that serves."""
    left = _disabled(direction)
    if left:
        control.note(direction.to, "subscriptions left disabled", side=direction.from_.side, subscriptions=left)
        for database, names in left.items():
            reporter.say(f"left disabled on the {direction.from_.side}, to be created on the {direction.to.side}: "
                         f"{', '.join(names)} in {database!r}")  # fmt: skip
    control.forget(direction.from_, DisabledSubscriptions)


def _disabled(direction: Direction) -> dict[str, tuple[str, ...]]:
    found = control.records(direction.from_)
    return found.disabled_subscriptions.databases if found and found.disabled_subscriptions else {}
