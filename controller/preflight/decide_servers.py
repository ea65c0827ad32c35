"""Decisions about the servers as wholes: do they answer, what are they, are they set and large enough."""

from collections.abc import Iterator

from encryptdb.controller.preflight.facts import Facts, ServerFacts, Stage
from encryptdb.controller.preflight.report import Finding, problem_text
from encryptdb.stacks.cloud.eligibility import NEWEST, OLDEST


def reachable(facts: Facts) -> Iterator[Finding]:
    for silence in facts.silent:
        # After OPEN the source is history: nothing that is still to do needs it.
        history = facts.stage == Stage.OPEN and silence.side == "source"
        yield Finding(
            "warns" if history else "blocks",
            found=problem_text(silence.problem),
            needed="An answer and a login: what could not be read counts as unknown, never as fine.",
            remedy=silence.problem.hint,
            side=silence.side,
            silent=True,
        )


def encrypted_connection(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        if server.settings.get("ssl") != "on":
            yield Finding(
                "warns",
                found="The server has TLS switched off.",
                needed="TLS: the controller's password and the replicated rows cross the network in the clear.",
                remedy="RDS always has TLS. On a server of your own: ssl = on, with a certificate.",
                side=server.side,
            )
        elif not server.role.tls:
            yield Finding(
                "warns",
                found="The controller's connection is not encrypted.",
                needed="TLS with a verified certificate (sslmode=verify-full, which is the default).",
                remedy="unset PGSSLMODE",
                side=server.side,
            )


def versions(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        if not OLDEST <= server.major <= NEWEST:
            yield Finding(
                "blocks",
                found=f"PostgreSQL {server.major}.",
                needed=f"PostgreSQL {OLDEST} to {NEWEST}.",
                remedy="Upgrade the source to a supported major version first."
                if server.major < OLDEST
                else "Use a newer release of encryptdb.",
                side=server.side,
            )
    if facts.source and facts.target and facts.source.major != facts.target.major:
        yield Finding(
            "blocks",
            found=f"The source runs PostgreSQL {facts.source.major}, the target {facts.target.major}.",
            needed="The same major version on both sides: the LSN and the transaction ids of the copy prove nothing "
            "after an upgrade, which rewrites them.",
            remedy="Start again with a new attempt, and upgrade after the migration.",
            side="target",
        )


def engine(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        if server.engine != facts.outputs.engine:
            yield Finding(
                "blocks",
                found=f"The {server.side} runs {server.engine}, the stack says {facts.outputs.engine}.",
                needed="The same product on both sides: LSNs of RDS and of Aurora have nothing in common.",
                remedy="Correct the stack's config (source), then pulumi up.",
                side=server.side,
            )


def not_a_replica(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        if server.in_recovery:
            yield Finding(
                "blocks",
                found="The server is a replica (in recovery): it takes no publication and no write.",
                needed="The primary.",
                remedy="Point the stack's config (source) at the primary."
                if server.side == "source"
                else "Promote it, or start again with a new attempt.",
                side=server.side,
            )


def logical_decoding(facts: Facts) -> Iterator[Finding]:
    """Before prepare the reboot that brings these settings is still to come; later, their absence is a loss."""
    for server in facts.servers:
        early = facts.stage == Stage.UNPREPARED and server.side == "source"
        off = [
            f"{name} = {server.settings[name]}"
            for name, wanted in (("wal_level", "logical"), ("track_commit_timestamp", "on"))
            if server.settings[name] != wanted
        ]
        if not off:
            continue
        known, words = facts.known(server.side), facts.words
        yield Finding(
            "warns" if early else "blocks",
            found=f"{', '.join(off)}.",
            needed="wal_level = logical and track_commit_timestamp = on."
            + (
                " Both act after a reboot, which prepare does only with --allow-reboot."
                if early
                else " They were there before: a parameter group was changed or exchanged, and the server was "
                "restarted. Where commit timestamps were off for a moment, those of before are gone."
            ),
            remedy="python -m controller prepare --allow-reboot (in a quiet hour)"
            if early
            else f"{words.attach(known.identifier, _group(facts, server))} && {words.reboot(known)}",
            side=server.side,
        )


def room(facts: Facts) -> Iterator[Finding]:
    """Slots, senders and workers for every database. Before prepare, what the stack's parameter group will bring
    counts, because it acts at the same reboot."""
    for server in facts.servers:
        group = _group(facts, server)
        coming = (facts.cloud.groups.get(group) if facts.cloud else None) or {}
        for setting, needed, why in demands(facts, server):
            now = int(server.settings[setting])
            if now >= needed:
                continue
            later = int(coming[setting]) if coming.get(setting, "").isdigit() else now
            early = facts.stage == Stage.UNPREPARED and server.side == "source"
            if early and later >= needed:
                yield Finding(
                    "warns",
                    found=f"{setting} = {now}; the parameter group {group} brings {later}.",
                    needed=f"{needed}: {why}.",
                    remedy="python -m controller prepare --allow-reboot (in a quiet hour)",
                    side=server.side,
                )
                continue
            yield Finding(
                "blocks",
                found=f"{setting} = {now}" + (f" (and {later} in {group})." if later != now else "."),
                needed=f"{needed}: {why}.",
                remedy=f"{facts.words.set_parameters(group, {setting: needed})}, then reboot",
                side=server.side,
            )


def _group(facts: Facts, server: ServerFacts) -> str:
    """The parameter group that a remedy for one server names."""
    outputs = facts.outputs
    named = outputs.target_parameter_group if server.side == "target" else outputs.source_parameter_group
    return named or "GROUP"


def demands(facts: Facts, server: ServerFacts) -> Iterator[tuple[str, int, str]]:
    """(setting, least value, why) for one server: what others use there, and what the migration needs besides."""
    databases = len(server.moving)
    slots = sum(1 for s in server.slots if not facts.ours(s.name))
    theirs = sum(1 for s in server.subscriptions if not facts.ours(s.name))
    if server.side == "source":
        yield (
            "max_replication_slots",
            slots + databases + 1,
            f"{slots} used by others, {databases} for the migrated databases, 1 for reading the slot while the exact "
            "LSN is proved",
        )
    else:
        yield "max_replication_slots", databases, "a slot for the rollback path for each migrated database"
    yield (
        "max_wal_senders",
        server.counts.senders + databases,
        f"{server.counts.senders} used by others, {databases} for the migrated databases",
    )
    origins = "max_active_replication_origins" if server.major >= 18 else "max_replication_slots"
    yield origins, theirs + databases, f"an origin for each subscription: {theirs} of others, {databases} of ours"
    yield (
        "max_logical_replication_workers",
        theirs + databases,
        f"an apply worker for each subscription: {theirs} of others, {databases} of ours",
    )
    yield (
        "max_worker_processes",
        server.counts.workers + theirs + databases,
        f"{server.counts.workers} background workers that run now, {theirs + databases} apply workers",
    )


def connection_headroom(facts: Facts) -> Iterator[Finding]:
    for server in facts.servers:
        limit = server.number("max_connections") - server.number("superuser_reserved_connections")
        free, needed = limit - server.counts.connections, 2 * len(server.moving) + 10
        if free < needed:
            yield Finding(
                "warns",
                found=f"{server.counts.connections} of {limit} connections are in use.",
                needed=f"{needed} free: the controller opens up to two for each migrated database, and a few more.",
                remedy="Close idle connections, or raise max_connections.",
                side=server.side,
            )
