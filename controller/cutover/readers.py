"""Readers: the read-only instances of an Aurora cluster, behind an endpoint of their own. RDS has none.

Their lag is tested by content, not by metrics: what the writer has must be seen through each reader and the reader
endpoint. Before the pause that is a replicated heartbeat (a dry run changes nothing), after OPEN a record of its epoch.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from encryptdb.controller.cutover.direction import Direction
from encryptdb.controller.migration import Migration
from encryptdb.controller.postgres import control, heartbeat
from encryptdb.controller.postgres.object_names import CONTROL_DATABASE
from encryptdb.controller.postgres.server import Server
from encryptdb.controller.record_values import Endpoints
from encryptdb.controller.records import ReaderProbe
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Problem
from encryptdb.stacks.contract.outputs import Side

SEEN_SECONDS = 20.0
"""How long a reader may lag behind its writer. Aurora's readers lag well under a second."""

SEEN_SQL = f"SELECT (value ->> 'epoch')::bigint FROM encryptdb.record WHERE key = '{ReaderProbe.key}'"

SESSIONS_SQL = """
-- Sessions of others in the migrated databases.
SELECT count(*) FROM pg_stat_activity
 WHERE datid = ANY (%s) AND backend_type = 'client backend' AND application_name NOT LIKE 'encryptdb %%'
"""


@dataclass(frozen=True)
class Reader:
    """An instance, or the reader endpoint."""

    name: str
    server: Server


def check(m: Migration, direction: Direction) -> None:
    """Raise NotYet unless every reader of `direction.to` is available and has caught up."""
    side = side_of(m, direction.to)
    unavailable = [f"{r.identifier} is {r.status}" for r in m.engine.readers(side) if not r.serving]
    if unavailable:
        raise NotYet(
            f"Not every reader of the {direction.to.side} is available.",
            detail=f"{', '.join(unavailable)}. Nothing was changed.",
            hint=f"Wait until it is available, or delete the instance, then: {AGAIN}",
        )
    found = places(m, direction.to)
    if not found:
        return
    database = direction.databases[0].name
    try:
        see(found, database, heartbeat.READ_SQL, heartbeat.read(direction.to, database) or 0, m)
    except Problem as problem:
        raise NotYet(
            f"The readers of the {direction.to.side} have not caught up.",
            detail=f"{problem.message} {problem.detail or ''} Nothing was changed.",
            hint=f"Check the log and the lag of that instance, then: {AGAIN}",
        ) from None
    m.say(f"{named(found)} of the {direction.to.side} show what its writer has")


def confirm(m: Migration, direction: Direction, epoch: int) -> Endpoints | None:
    """After OPEN: write through the endpoint of `direction.to`, and read it through its readers. Returns the endpoints
    tested, None without readers. Raises Failed."""
    found = places(m, direction.to)
    if not found:
        return None
    # A new connection: it tests the address that applications use now.
    with direction.to.connect(CONTROL_DATABASE) as db, direction.to.translated(CONTROL_DATABASE):
        control.write(db, ReaderProbe(epoch))
    see(found, CONTROL_DATABASE, SEEN_SQL, epoch, m)
    m.say(f"{direction.to.host} takes writes; {named(found)} show them")
    return Endpoints(direction.to.host, {place.name: place.server.host for place in found})


def lingering(m: Migration, server: Server, oids: Sequence[int]) -> list[str]:
    """The readers of a side that was left that still have sessions, as text. The fence keeps new sessions out of them,
    but ends only those of the writer."""

    def look(place: Reader) -> str | None:
        try:
            sessions = place.server.value(SESSIONS_SQL, [list(oids)], database="postgres")
        except Problem as problem:
            return f"could not read the sessions on the reader {place.name} of the {server.side}: {problem.detail}"
        finally:
            place.server.close()
        if not sessions:
            return None
        return (
            f"the reader {place.name} of the {server.side} still has {sessions} sessions: end them there "
            "(pg_terminate_backend), or reboot that instance"
        )

    return [words for place in members(m, server) if (words := look(place)) is not None]


def see(found: Sequence[Reader], database: str, query: str, wanted: int, m: Migration) -> None:
    """Return when the query gives at least `wanted` on each. Raises Failed, naming one, after SEEN_SECONDS."""

    def one(place: Reader) -> None:
        ends = m.clock.monotonic() + SEEN_SECONDS
        try:
            while (shown := place.server.value(query, database=database)) is None or shown < wanted:
                if m.clock.monotonic() > ends:
                    raise Failed(
                        f"Timed out after {SEEN_SECONDS:g} s waiting for {place.name} to show the last write.",
                        detail=f"Read at {place.server.host}, database {database!r}.",
                    )
                m.clock.sleep(0.05)
        finally:
            place.server.close()

    with ThreadPoolExecutor(max_workers=len(found), thread_name_prefix="reader") as pool:
        list(pool.map(one, found))


def places(m: Migration, server: Server) -> list[Reader]:
    """Every reader of one side, and the reader endpoint."""
    side = side_of(m, server)
    endpoint = (("the reader endpoint", side.reader_host),) if side.reader_host else ()
    return [*members(m, server), *(Reader(name, _beside(server, host, side.port)) for name, host in endpoint)]


def members(m: Migration, server: Server) -> list[Reader]:
    """Every reader of one side by its own address."""
    listed = m.engine.readers(side_of(m, server))
    return [Reader(r.identifier, _beside(server, r.host or "", r.port)) for r in listed]


def side_of(m: Migration, server: Server) -> Side:
    """The stack's outputs for the side of a server."""
    side = m.outputs.source if server.side == "source" else m.outputs.target
    assert side is not None, "a server of the target is there only where the outputs name one"
    return side


def _beside(server: Server, host: str, port: int) -> Server:
    return Server(server.side, host, port, server.login, server.purpose, server.stack)


def named(found: Sequence[Reader]) -> str:
    return ", ".join(place.name for place in found)
