"""The restored copy: is it ours, is it encrypted, and is it closed to everyone but the apply workers?"""

from psycopg import sql

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres import connect_privileges, control, slots, subscriptions
from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.records import Isolated, Records
from encryptdb.controller.steps.step import observed_source, observed_target
from encryptdb.stacks.cloud.database import same_key
from encryptdb.stacks.contract.errors import Failed, NotYet, Refused


def refuse_wrong_copy(m: Migration, observed: Observed) -> None:
    """Raise Refused where the target is not the encrypted copy of a snapshot of this migration and attempt."""
    side = m.outputs.target
    assert side is not None
    found = m.described(side.identifier)
    if not found.serving:
        raise NotYet(
            f"The target {side.identifier} is {found.overall_status}.", hint="Run this again when it is available."
        )
    if not found.under_kms_key:
        kind = f", StorageEncryptionType is {found.encryption_type}" if found.encryption_type else ""
        raise Refused(
            f"The target {side.identifier} is not encrypted under a KMS key.",
            detail=f"AWS says StorageEncrypted is {str(found.encrypted).lower()}{kind}. Moving there would not do.",
            hint="Was it restored from the plain snapshot? Abandon, set attempt one higher, and run pulumi up again.",
        )
    if not same_key(found.kms_key_arn, m.outputs.kms_key_arn):
        raise Refused(
            f"The target {side.identifier} is encrypted under another key.",
            detail=f"It is under {found.kms_key_arn}; the stack asks for {m.outputs.kms_key_arn}.",
            hint="Abandon, set attempt one higher, and run pulumi up again; or correct kmsKey in the stack's config.",
        )
    ours = observed_source(observed).records or Records()
    theirs = (observed_target(observed).records or Records()).identity
    if ours.identity is None or ours.prepared is None:
        raise NotYet(
            "The source is not prepared.",
            hint=f"Run python -m controller prepare --stack {m.outputs.stack} first: the snapshot comes after it.",
        )
    if theirs != ours.identity:
        raise Refused(
            "The target is not the copy of a snapshot of this migration.",
            detail=f"The source's control database says {ours.identity}; the copy's says {theirs or 'nothing at all'}.",
            hint="A snapshot made before prepare, of another attempt or of another source cannot be joined without "
            "losing changes. Abandon, set attempt one higher, and begin again with prepare.",
        )
    if not observed_source(observed).logical:
        raise Refused(
            "Logical replication was switched off on the source since prepare.",
            detail=f"wal_level is {observed_source(observed).settings['wal_level']}, track_commit_timestamp is "
            f"{observed_source(observed).settings['track_commit_timestamp']}. Changes may be missing from the slots.",
            hint="Somebody attached another parameter group. Abandon, set attempt one higher, and begin again.",
        )
    there = observed_source(observed).slots
    wanted = [m.names.slot(d.oid) for d in observed.migrated]
    gone = [name for name in wanted if name not in there or there[name].wal_status == "lost"]
    if gone:
        raise Refused(
            "A replication slot on the source is gone.",
            detail=f"Missing or invalidated: {', '.join(gone)}. The changes it kept cannot be had again.",
            hint="Abandon, set attempt one higher, and begin again. If max_slot_wal_keep_size invalidated it, raise "
            "that first.",
        )


# Isolate the copy: nobody but us and the apply workers may act on it.


def keepers(m: Migration) -> list[str]:
    """Roles that may still connect to a closed database: ours, the walsenders', the subscriptions' owner (ours)."""
    return [m.the_target.login.user, m.source.login.user, REPLICATION_ROLE]


def is_isolated(m: Migration, observed: Observed) -> bool:
    target = observed_target(observed)
    ours = {m.names.slot(d.oid) for d in observed.migrated}
    backs = {m.names.back_slot(d.oid) for d in observed.migrated}
    return (
        (target.records or Records()).isolated is not None
        and not target.prepared_transactions
        and all(name in backs for name in target.slots)
        and all(s.name in ours or not s.enabled for s in target.subscriptions.values())
    )


def isolate(m: Migration, observed: Observed) -> None:
    target, server = observed_target(observed), m.the_target
    connect_privileges.close(server, observed.migrated, keep=sorted(set(keepers(m))))
    _end_sessions(m, observed)
    backs = {m.names.back_slot(d.oid) for d in observed.migrated}
    for name in target.slots.keys() - backs:
        slots.drop(server, name, reporter=m.reporter, clock=m.clock)
    ours = {m.names.slot(d.oid) for d in observed.migrated}
    for subscription in target.subscriptions.values():
        if subscription.name not in ours:
            # Enabled, an inherited one would take the slot that production uses.
            subscriptions.detach(server, subscription.database, subscription.name)
    if target.prepared_transactions:
        _roll_back_prepared(m)
    control.write(server, Isolated(m.outputs.attempt))


def _end_sessions(m: Migration, observed: Observed) -> None:
    """End whoever connected to the copy before it was closed; the closed databases let nobody back in."""
    server = m.the_target
    server.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = ANY (%s) AND backend_type = 'client backend' AND pid <> ALL (%s)""",
        [[d.name for d in observed.migrated], [*server.pids(), 0]],
    )


def _roll_back_prepared(m: Migration) -> None:
    server = m.the_target
    for gid, database, owner in server.rows(None, "SELECT gid, database, owner FROM pg_prepared_xacts"):
        try:
            server.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)), database=database)
        except Failed as problem:
            raise Refused(
                f"The copy inherited the prepared transaction {gid!r}, and it cannot be rolled back.",
                detail=f"{problem.detail} It would make the apply worker hang.",
                hint=f"Log in to the target as {owner}, in database {database}: ROLLBACK PREPARED {gid!r}; "
                "then run this again.",
            ) from None
