"""Subscriptions that the left side has of its own, to servers that are none of ours.

The fence of the pause keeps their workers out, the lasting fence may not: an apply worker enters as its subscription's
owner, and where that is the controller's role (on RDS below 16 it is the master) or a superuser, it would go on writing
on the side that nobody reads any more. So they are disabled before the pause, recorded first, and enabled again
wherever the move does not come to its end. What they would have applied waits in their publishers' slots.
"""

from psycopg import errors, sql

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.postgres import control, subscriptions
from encryptdb.controller.records import DisabledSubscriptions
from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.contract.errors import Refused

ENABLED_SQL = """
-- Enabled subscriptions in these databases. Ours on the left side are disabled until the move is done.
SELECT d.datname::text, s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
 WHERE s.subdbid = ANY (%s) AND s.subenabled ORDER BY 1, 2
"""


def enabled(direction: Direction) -> list[tuple[str, str]]:
    """(database, name) of those that would run."""
    return [(d, s) for d, s in direction.from_.rows(None, ENABLED_SQL, [[d.oid for d in direction.databases]])]


def silence(direction: Direction, reporter: Reporter) -> None:
    """Record and disable them. Raises Refused, which names it, where one is not ours to disable."""
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
                disable = sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name))
                direction.from_.db(database).execute(disable)
            except errors.InsufficientPrivilege:
                raise Refused(
                    f"Database {database!r} on the {direction.from_.side} has a subscription of its own, {name!r}.",
                    detail="It would go on writing there when applications have left, and it is not ours to disable.",
                    hint=f"ALTER SUBSCRIPTION {name} DISABLE; as its owner, then run the command again.",
                ) from None


def let_go(direction: Direction) -> None:
    """Enable again what `silence` recorded. Safe to repeat, and where nothing was recorded."""
    for database, names in _disabled(direction).items():
        for name in names:
            query = "SELECT FROM pg_subscription WHERE subname = %s"
            if direction.from_.row(query, [name], database=database) is not None:
                subscriptions.enable(direction.from_, database, name)
    control.forget(direction.from_, DisabledSubscriptions)


def refuse_enabled(direction: Direction) -> None:
    """Inside the pause: raise Refused where somebody enabled or made one since."""
    found = enabled(direction)
    if found:
        raise Refused(
            f"A subscription was enabled on the {direction.from_.side} just now.",
            detail="; ".join(f"{name} in {database}" for database, name in found)
            + ". It would go on writing there when applications have left.",
            hint="Disable it, then run the command again.",
        )


def leave_behind(direction: Direction, reporter: Reporter) -> None:
    """The move is done: tell which subscriptions stay disabled, in the journal of the side that serves as well."""
    silenced = _disabled(direction)
    if silenced:
        control.note(direction.to, "subscriptions left disabled", side=direction.from_.side, subscriptions=silenced)
        for database, names in silenced.items():
            reporter.say(f"left disabled on the {direction.from_.side}, to be made on the {direction.to.side}: "
                         f"{', '.join(names)} in {database!r}")  # fmt: skip
    control.forget(direction.from_, DisabledSubscriptions)


def _disabled(direction: Direction) -> dict[str, tuple[str, ...]]:
    found = control.records(direction.from_)
    return found.disabled_subscriptions.databases if found and found.disabled_subscriptions else {}
