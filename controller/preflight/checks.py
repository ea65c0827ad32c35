"""The checks, in the order in which they are reported. Reading this tuple is reading the list.

Each decision is pure: it takes what was read and says what it thinks of it. What a check needs and could not have
makes it `unestablished`, never passed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from controller.preflight import (
    decide_cloud,
    decide_databases,
    decide_logs,
    decide_rights,
    decide_roles,
    decide_servers,
    decide_surroundings,
    decide_tables,
)
from controller.preflight.facts import Facts
from controller.preflight.report import Finding, Report


@dataclass(frozen=True)
class Check:
    """One check. `needs` names what it reads: `source`, `aws`, and `target` where the stack has one."""

    name: str
    title: str
    decide: Callable[[Facts], Iterator[Finding]]
    needs: tuple[str, ...] = ("source", "target")


CHECKS: tuple[Check, ...] = (
    # The servers
    Check("reachable", "Both servers and AWS answer, and let us in", decide_servers.reachable, ()),
    Check("tls", "The controller's connections are encrypted", decide_servers.encrypted_connection),
    Check("version", "PostgreSQL 13 to 18, the same major on both sides", decide_servers.versions),
    Check("engine", "Both servers are the product that the stack says", decide_servers.engine),
    Check("primary", "Neither server is a replica", decide_servers.not_a_replica),
    Check("databases", "Which databases move", decide_databases.databases, ("source",)),
    Check("readable", "Every database that moves can be looked into", decide_databases.readable),
    Check("logical-decoding", "wal_level is logical, commit timestamps are kept", decide_servers.logical_decoding),
    Check("room", "Slots, senders and workers for every database", decide_servers.room),
    Check("connections", "Connections are left for the controller", decide_servers.connection_headroom),
    # The controller's role
    Check("own-role", "No application logs in as the controller's role", decide_roles.own_role, ("source",)),
    Check("monitoring", "The role sees and ends sessions of others", decide_roles.monitoring),
    Check("replication", "The role may make slots", decide_roles.replication),
    Check("replication-role", "The role may make the subscriptions' role", decide_roles.replication_role),
    Check("create-database", "The role may make the control database", decide_roles.create_database, ("source",)),
    Check("schema", "The role may make the heartbeat's schema", decide_roles.schema),
    Check("publish", "The role may publish all tables", decide_roles.publish),
    Check("subscribe", "The role may make a subscription", decide_roles.subscribe),
    Check("origins", "The role may advance a replication origin", decide_roles.origins),
    Check("database-owner", "The role may alter the databases", decide_rights.database_owner),
    Check("table-rights", "The role may read and write every table", decide_rights.table_rights),
    Check("sequence-rights", "The role may read and set every sequence", decide_rights.sequence_rights),
    Check("row-security", "No row is hidden from the role", decide_rights.row_security),
    # What is in the databases
    Check("replica-identity", "Every table's UPDATE can be published", decide_tables.replica_identity, ("source",)),
    Check("generated-identity", "No identity has a generated column", decide_tables.generated_identity, ("source",)),
    Check("full-identity", "REPLICA IDENTITY FULL works and is affordable", decide_tables.full_identity, ("source",)),
    Check("same-tables", "Source and copy have the same tables", decide_tables.same_tables),
    Check("apply-triggers", "No trigger fires on replicated changes", decide_tables.apply_triggers),
    Check("event-triggers", "No event trigger meddles", decide_tables.event_triggers, ("source",)),
    Check("unlogged-tables", "Unlogged tables arrive empty", decide_tables.unlogged_tables, ("source",)),
    Check("materialized-views", "Materialized views arrive old", decide_tables.materialized_views, ("source",)),
    Check("foreign-tables", "Foreign tables need a way to their servers", decide_tables.foreign_tables, ("source",)),
    Check("large-objects", "Large objects do not change meanwhile", decide_tables.large_objects),
    # What else is on the servers
    Check("other-attempt", "Nothing of another attempt or owner", decide_surroundings.other_attempt, ("source",)),
    Check("own-copy", "The target is a copy made for this migration", decide_surroundings.own_copy),
    Check("own-slots", "The slots of prepare still hold all WAL", decide_surroundings.own_slots, ("source",)),
    Check("other-slots", "Slots of others do not move", decide_surroundings.other_slots, ("source",)),
    Check("subscriptions", "No inherited subscription acts", decide_surroundings.subscriptions),
    Check("prepared-transactions", "No two-phase transaction", decide_surroundings.prepared_transactions, ("source",)),
    Check("schedulers", "No scheduler acts on the copy", decide_surroundings.schedulers, ("source",)),
    Check("long-transactions", "No transaction holds up the slots", decide_surroundings.long_transactions, ("source",)),
    Check("statement-logs", "Nothing writes down a password", decide_logs.statement_logs),
    # What AWS says
    Check("identity", "The instances are those of the stack", decide_cloud.identity, ("aws",)),
    Check("source-encryption", "The source is not under this key", decide_cloud.source_encryption, ("aws",)),
    Check("target-encryption", "The target is under the stack's key", decide_cloud.target_encryption, ("aws",)),
    Check("instance-state", "The instances are available", decide_cloud.instance_state, ("aws",)),
    Check("parameter-groups", "The parameter groups hold what is needed", decide_cloud.parameter_groups, ("aws",)),
    Check("read-replicas", "Read replicas do not move", decide_cloud.replicas, ("aws",)),
    Check("storage", "WAL fits until the target has caught up", decide_cloud.storage, ("source", "aws")),
)


def evaluate(facts: Facts) -> Report:
    """Make every check on what was read."""
    silent = {s.side for s in facts.silent}
    findings: list[Finding] = []
    passed: list[str] = []
    unestablished: list[str] = []
    for check in CHECKS:
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
