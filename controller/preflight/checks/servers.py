"""The servers as wholes: do they answer, what are they, are they configured and large enough."""

from collections.abc import Iterator
from dataclasses import dataclass

from encryptdb.controller.preflight.check import Findings, blocks, check, migration, server, unavailable, warns
from encryptdb.controller.preflight.checks.cloud import CLOUD
from encryptdb.controller.preflight.facts import Facts, Reading, ServerFacts, Stage, row
from encryptdb.controller.preflight.read import optional
from encryptdb.stacks.cloud.eligibility import NEWEST, OLDEST
from encryptdb.stacks.contract.errors import Problem

AURORA = Reading(
    "whether it is Aurora",
    "server",
    # Only Aurora has this function; not every version of it lists it in pg_proc.
    lambda connection: optional(connection, "SELECT aurora_version()") is not None,
)


@dataclass(frozen=True)
class Session:
    """Whether the server is a replica, whether our session uses TLS, and what is in use: client sessions, the names of
    walsenders, and background workers other than apply and parallel ones."""

    in_recovery: bool
    tls: bool
    connections: int
    senders: list[str]
    workers: int


SESSION_SQL = """
-- Workers: whatever is neither PostgreSQL's own process, nor an apply or parallel worker; the launcher of logical
-- replication is one of them.
SELECT pg_is_in_recovery() AS in_recovery,
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       ARRAY(SELECT application_name::text FROM pg_stat_replication) AS senders,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'checkpointer',
               'background writer', 'walwriter', 'walsender', 'walreceiver', 'startup', 'archiver', 'logger',
               'walsummarizer', 'slotsync worker', 'io worker', 'standalone backend', 'parallel worker')
           AND backend_type NOT LIKE 'logical replication%worker'
           AND backend_type NOT LIKE 'aurora %')::int AS workers
"""
SESSION = Reading("what is in use", "server", row(Session, SESSION_SQL))


def problem_text(problem: Problem) -> str:
    """A Problem as one sentence or two."""
    detail = f" {problem.detail.rstrip('.')}." if problem.detail else ""
    return problem.message + detail


@check(migration, "unavailable (status 1); warns for a source that is no longer needed", sides="none")
def reachable(facts: Facts) -> Findings:
    """Both servers and AWS answer, and accept the login."""
    for side, problem in facts.unavailable.items():
        needed = not (facts.stage == Stage.OPEN and side == "source")
        yield (unavailable if needed else warns)(
            problem_text(problem),
            "An answer and a login: what could not be read is unknown, and is not taken as good.",
            problem.hint,
            side=side,
        )
    for found in facts.servers:
        if found.problem is not None:
            yield unavailable(
                problem_text(found.problem), "Everything that the checks read.", found.problem.hint, side=found.side
            )


@check(server, "warns", reads=(SESSION,))
def tls(facts: Facts, server: ServerFacts) -> Findings:
    """TLS is on and used. The controller's password and all rows cross the network."""
    if server.setting("ssl") != "on":
        yield warns(
            "TLS is switched off on the server.",
            "TLS: the controller's password and the replicated rows cross the network unencrypted.",
            "ALTER SYSTEM SET ssl = on; -- with ssl_cert_file and ssl_key_file; RDS always has TLS",
        )
    elif not server[SESSION].tls:
        yield warns(
            "The controller's connection is not encrypted.",
            "TLS with a verified certificate (sslmode=verify-full, the default).",
            "unset PGSSLMODE",
        )


@check(server, "blocks")
def version(facts: Facts, server: ServerFacts) -> Findings:
    """PostgreSQL 13 to 18, and the same major version on both sides. Log messages and catalogs of these are known;
    an upgrade rewrites what proves the LSN."""
    if not OLDEST <= server.major <= NEWEST:
        yield blocks(
            f"The server runs PostgreSQL {server.major}.",
            f"PostgreSQL {OLDEST} to {NEWEST}.",
            facts.words.modify(facts.known(server.side).identifier, "--engine-version VERSION")
            if server.major < OLDEST
            else "pip install --upgrade encryptdb",
        )
    source = facts.source
    if server.side == "target" and source is not None and source.major != server.major:
        yield blocks(
            f"The source runs PostgreSQL {source.major}, the target {server.major}.",
            "The same major version on both sides: an upgrade rewrites what proves the exact LSN. Upgrade afterwards.",
            facts.new_attempt,
            part="same-major",
        )


@check(server, "blocks", reads=(AURORA,))
def engine(facts: Facts, server: ServerFacts) -> Findings:
    """Both servers run the engine that the stack names. LSNs of RDS and of Aurora are unrelated."""
    found = "aurora-postgresql" if server[AURORA] else "postgres"
    if found != facts.outputs.engine:
        yield blocks(
            f"The {server.side} runs {found}, the stack says {facts.outputs.engine}.",
            "The same engine on both sides: LSNs of RDS and of Aurora are unrelated.",
            facts.config("source", "IDENTIFIER"),
        )


@check(server, "blocks", reads=(SESSION,))
def primary(facts: Facts, server: ServerFacts) -> Findings:
    """Neither server is in recovery. A replica takes no publication and no write."""
    if server[SESSION].in_recovery:
        yield blocks(
            "The server is a replica (in recovery).",
            "The primary: a replica takes no publication and no write.",
            facts.config("source", "IDENTIFIER") if server.side == "source" else facts.new_attempt,
        )


@check(server, "warns before, blocks after `prepare`")
def logical_decoding(facts: Facts, server: ServerFacts) -> Findings:
    """`wal_level` is `logical` and `track_commit_timestamp` is `on`. Before `prepare` the reboot is announced; if
    they are off later, changes may be missing."""
    if server.observed.logical:
        return
    early = facts.stage == Stage.UNPREPARED and server.side == "source"
    known = facts.known(server.side)
    yield (warns if early else blocks)(
        f"wal_level = {server.setting('wal_level')}, track_commit_timestamp = "
        f"{server.setting('track_commit_timestamp')}.",
        "wal_level = logical and track_commit_timestamp = on."
        + (
            " Both take effect at a reboot, which prepare does only with --allow-reboot."
            if early
            else " They were on before: the parameter group was changed or replaced, and the server was restarted. "
            "Commit timestamps of earlier transactions are lost where they were off meanwhile."
        ),
        facts.controller("prepare --allow-reboot")
        if early
        else f"{facts.words.attach(known.identifier, facts.group(server.side))} && {facts.words.reboot(known)}",
    )


@check(server, "warns if the group brings it, else blocks", reads=(SESSION, CLOUD))
def room(facts: Facts, server: ServerFacts) -> Findings:
    """Slots, WAL senders, origins and workers suffice for every database. One slot for each database and one spare
    to read a slot cheaply, with what others use already. What the stack's parameter group brings at the same reboot
    counts."""
    group = facts.group(server.side)
    coming = facts[CLOUD].groups.get(group) or {}
    for setting, needed, why in demands(facts, server):
        now = server.number(setting)
        later = int(coming[setting]) if coming.get(setting, "").isdigit() else now
        if now >= needed:
            continue
        if facts.stage == Stage.UNPREPARED and server.side == "source" and later >= needed:
            yield warns(
                f"{setting} = {now}; the parameter group {group} sets {later}.",
                f"{needed}: {why}.",
                facts.controller("prepare --allow-reboot"),
                part=setting,
            )
        else:
            yield blocks(
                f"{setting} = {now}" + (f" (and {later} in {group})." if later != now else "."),
                f"{needed}: {why}.",
                f"{facts.words.set_parameters(group, {setting: needed})} && "
                f"{facts.words.reboot(facts.known(server.side))}",
                part=setting,
            )


def demands(facts: Facts, server: ServerFacts) -> Iterator[tuple[str, int, str]]:
    """(setting, least value, why) for one server: what others use there, and what the migration needs besides."""
    session, databases = server[SESSION], len(server.moving)
    slots = sum(1 for name in server.observed.slots if not facts.ours(name))
    theirs = sum(1 for name in server.observed.subscriptions if not facts.ours(name))
    senders = sum(1 for name in session.senders if not facts.ours(name))
    needed_slots = (
        "max_replication_slots",
        slots + databases + 1,
        f"{slots} used by others, {databases} for the migrated databases, 1 for reading the slot for the proof",
    )
    if server.side == "target":
        needed_slots = needed_slots[0], databases, "a slot of the rollback path for each migrated database"
    subscriptions = f"each subscription: {theirs} of others, {databases} of ours"
    origins = "max_active_replication_origins" if server.major >= 18 else "max_replication_slots"
    needed_origins = (origins, theirs + databases, f"an origin for {subscriptions}")
    if server.major >= 18:
        yield from (needed_slots, needed_origins)
    else:
        yield max(needed_slots, needed_origins, key=lambda demand: demand[1])
    yield (
        "max_wal_senders",
        senders + databases,
        f"{senders} used by others, {databases} for the migrated databases",
    )
    yield "max_logical_replication_workers", theirs + databases, f"an apply worker for {subscriptions}"
    yield (
        "max_worker_processes",
        session.workers + theirs + databases,
        f"{session.workers} background workers that run now, {theirs + databases} apply workers",
    )


@check(server, "warns", reads=(SESSION,))
def connections(facts: Facts, server: ServerFacts) -> Findings:
    """Connections are left for the controller."""
    limit = server.number("max_connections") - server.number("superuser_reserved_connections")
    used, needed = server[SESSION].connections, 2 * len(server.moving) + 10
    if limit - used < needed:
        yield warns(
            f"{used} of {limit} connections are in use.",
            f"{needed} free: the controller opens up to two for each migrated database, and a few more.",
            "SELECT pid, usename, datname, state_change FROM pg_stat_activity WHERE state = 'idle' ORDER BY 4; "
            "-- and pg_terminate_backend(pid)",
        )
