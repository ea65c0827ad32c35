"""The checks, in the order in which they are reported. Reading this tuple is reading the list.

Each decision is pure: it takes what was read and says what it thinks of it. What a check needs and could not have
makes it `unestablished`, never passed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from encryptdb.controller.preflight import decide_cloud as cloud
from encryptdb.controller.preflight import decide_databases as databases
from encryptdb.controller.preflight import decide_logs as logs
from encryptdb.controller.preflight import decide_rights as rights
from encryptdb.controller.preflight import decide_roles as roles
from encryptdb.controller.preflight import decide_servers as servers
from encryptdb.controller.preflight import decide_storage as storage
from encryptdb.controller.preflight import decide_surroundings as around
from encryptdb.controller.preflight import decide_tables as tables
from encryptdb.controller.preflight.facts import Facts, Stage
from encryptdb.controller.preflight.report import Finding, Report

BOTH = ("source", "target")
SOURCE = ("source",)
AWS = ("aws",)
INSIDE_BOTH = (*BOTH, "databases")
INSIDE = (*SOURCE, "databases")

ALWAYS = tuple(Stage)
UNPREPARED = (Stage.UNPREPARED,)
RESTORED = (Stage.RESTORED,)
UNTIL_OPEN = (Stage.UNPREPARED, Stage.PREPARED, Stage.RESTORED)
UNTIL_RESTORED = (Stage.UNPREPARED, Stage.PREPARED)
ONCE_PREPARED = (Stage.PREPARED, Stage.RESTORED)


@dataclass(frozen=True)
class Check:
    """One check. `needs` names what it reads: `source`, `aws`, `target` where the stack has one, and `databases`
    where it looks into each of them; `stages` are those in which its question makes sense."""

    name: str
    title: str
    decide: Callable[[Facts], Iterator[Finding]]
    needs: tuple[str, ...] = BOTH
    stages: tuple[Stage, ...] = ALWAYS


CHECKS: tuple[Check, ...] = (
    # The servers
    Check("reachable", "Both servers and AWS answer, and let us in", servers.reachable, ()),
    Check("tls", "The controller's connections are encrypted", servers.encrypted_connection),
    Check("version", "PostgreSQL 13 to 18, the same major on both sides", servers.versions),
    Check("engine", "Both servers are the product that the stack says", servers.engine),
    Check("primary", "Neither server is a replica", servers.not_a_replica),
    Check("databases", "Which databases move", databases.databases, SOURCE, UNTIL_OPEN),
    Check("readable", "Every database that moves can be looked into", databases.readable),
    Check("logical-decoding", "wal_level is logical, commit timestamps are kept", servers.logical_decoding),
    Check("room", "Slots, senders and workers for every database", servers.room),
    Check("connections", "Connections are left for the controller", servers.connection_headroom),
    # The controller's role
    Check("own-role", "No application logs in as the controller's role", roles.own_role, SOURCE, UNTIL_OPEN),
    Check("monitoring", "The role sees and ends sessions of others", roles.monitoring),
    Check("replication", "The role may make slots", roles.replication),
    Check("replication-role", "The role may make the subscriptions' role", roles.replication_role),
    Check("create-database", "The role may make the control database", roles.create_database, SOURCE, UNPREPARED),
    Check("schema", "The role may make the heartbeat's schema", roles.schema, INSIDE_BOTH),
    Check("publish", "The role may publish all tables", roles.publish, INSIDE_BOTH),
    Check("subscribe", "The role may make a subscription", roles.subscribe, INSIDE_BOTH),
    Check("origins", "The role may advance a replication origin", roles.origins, INSIDE_BOTH),
    Check("database-owner", "The role may alter the databases", rights.database_owner),
    Check("table-rights", "The role may read and write every table", rights.table_rights, INSIDE_BOTH),
    Check("sequence-rights", "The role may read and set every sequence", rights.sequence_rights, INSIDE_BOTH),
    Check("row-security", "No row is hidden from the role", rights.row_security, INSIDE_BOTH),
    # What is in the databases
    Check("replica-identity", "Every table's UPDATE can be published", tables.replica_identity, INSIDE, UNTIL_OPEN),
    Check("generated-identity", "No identity has a generated column", tables.generated_identity, INSIDE, UNTIL_OPEN),
    Check("full-identity", "REPLICA IDENTITY FULL works and is affordable", tables.full_identity, INSIDE, UNTIL_OPEN),
    Check("same-tables", "Source and copy have the same tables", tables.same_tables, INSIDE_BOTH, RESTORED),
    Check("apply-triggers", "No trigger fires on replicated changes", tables.apply_triggers, INSIDE_BOTH, UNTIL_OPEN),
    Check("event-triggers", "No event trigger meddles", tables.event_triggers, INSIDE, UNTIL_OPEN),
    Check("unlogged-tables", "Unlogged tables arrive empty", tables.unlogged_tables, INSIDE, UNTIL_OPEN),
    Check("materialized-views", "Materialized views arrive old", tables.materialized_views, INSIDE, UNTIL_OPEN),
    Check("foreign-tables", "Foreign tables need a way to their servers", tables.foreign_tables, INSIDE, UNTIL_OPEN),
    Check("large-objects", "Large objects do not change meanwhile", tables.large_objects, INSIDE_BOTH, UNTIL_OPEN),
    # What else is on the servers
    Check("other-attempt", "Nothing of another attempt or owner", around.other_attempt, INSIDE, UNTIL_OPEN),
    Check("own-copy", "The target is a copy made for this migration", around.own_copy, stages=RESTORED),
    Check("own-slots", "The slots of prepare still hold all WAL", around.own_slots, SOURCE, ONCE_PREPARED),
    Check("other-slots", "Slots of others do not move", around.other_slots, SOURCE, UNTIL_OPEN),
    Check("subscriptions", "No inherited subscription acts", around.subscriptions, stages=UNTIL_OPEN),
    Check("prepared-transactions", "No two-phase transaction", around.prepared_transactions, SOURCE, UNTIL_OPEN),
    Check("schedulers", "No scheduler acts on the copy", around.schedulers, INSIDE, UNTIL_RESTORED),
    Check("long-transactions", "No transaction holds up the slots", around.long_transactions, SOURCE, UNTIL_OPEN),
    Check("statement-logs", "Nothing writes down a password", logs.statement_logs, INSIDE_BOTH),
    # What AWS says
    Check("identity", "The instances are those of the stack", cloud.identity, AWS),
    Check("eligibility", "The source can be encrypted here", cloud.eligibility, AWS, UNTIL_OPEN),
    Check("source-encryption", "The source is not under this key", cloud.source_encryption, AWS, UNTIL_OPEN),
    Check("target-encryption", "The target is under the stack's key", cloud.target_encryption, AWS),
    Check("instance-state", "The instances are available", cloud.instance_state, AWS),
    Check("parameter-groups", "The parameter groups hold what is needed", cloud.parameter_groups, AWS, UNTIL_OPEN),
    Check("read-replicas", "Read replicas do not move", storage.replicas, AWS, UNTIL_OPEN),
    Check("readers", "The target has as many readers", storage.readers, AWS, RESTORED),
    Check("storage", "WAL fits until the target has caught up", storage.storage, ("source", "aws"), UNTIL_OPEN),
)


def evaluate(facts: Facts) -> Report:
    """Make every check that the stage asks for on what was read."""
    silent = {s.side for s in facts.silent}
    if facts.stage == Stage.OPEN:
        # Whatever is still judged then is judged without the source.
        silent -= {"source"}
    if any(d.contents is None for server in facts.servers for d in server.moving):
        silent.add("databases")
    findings: list[Finding] = []
    passed: list[str] = []
    unestablished: list[str] = []
    for check in CHECKS:
        if facts.stage not in check.stages:
            continue
        found = [replace(f, name=check.name) for f in check.decide(facts)]
        findings += found
        if silent.intersection(check.needs):
            unestablished.append(check.name)
        elif not found:
            passed.append(check.name)
    server = facts.source or facts.target
    return Report(
        findings=tuple(findings),
        passed=tuple(passed),
        unestablished=tuple(unestablished),
        databases=tuple(d.name for d in server.moving) if server else (),
    )
