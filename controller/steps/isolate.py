"""The restored copy: verify that it is this migration's, encrypted and provable, then isolate it."""

from psycopg import sql

from encryptdb.controller.exact_lsn import refuse_unprovable, slot_positions
from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres import connect_privileges, control, slots, subscriptions
from encryptdb.controller.postgres.object_names import REPLICATION_ROLE
from encryptdb.controller.records import Isolated, Records
from encryptdb.controller.steps.replicate import has_exact_lsn
from encryptdb.controller.steps.step import observed_source, observed_target
from encryptdb.stacks.cloud.database import same_key
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Refused


def refuse_wrong_copy(m: Migration, observed: Observed) -> None:
    """Raise Refused unless the target is the encrypted copy of a snapshot of this migration and attempt, and its exact
    LSN can be proved. Changes nothing."""
    side = m.outputs.target
    assert side is not None
    replicate = line(Next.REPLICATE, m.outputs)
    found = m.described(side.identifier)
    if not found.serving:
        hint = f"When it is available: {replicate}"
        raise NotYet(f"The target {side.identifier} is {found.overall_status}.", hint=hint)
    if not found.under_kms_key:
        kind = f", StorageEncryptionType is {found.encryption_type}" if found.encryption_type else ""
        raise Refused(
            f"The target {side.identifier} is not encrypted under a KMS key.",
            detail=f"StorageEncrypted is {str(found.encrypted).lower()}{kind}. It was probably restored from the "
            "unencrypted snapshot.",
            hint=m.next_attempt,
        )
    if not same_key(found.kms_key_arn, m.outputs.kms_key_arn):
        raise Refused(
            f"The target {side.identifier} is encrypted under another key.",
            detail=f"Its key is {found.kms_key_arn}; the stack's is {m.outputs.kms_key_arn}. "
            "If the target's is the right one, correct kmsKey in the stack's config instead.",
            hint=m.next_attempt,
        )
    ours = observed_source(observed).records or Records()
    theirs = (observed_target(observed).records or Records()).identity
    if ours.identity is None or ours.prepared is None:
        raise NotYet(
            "The source is not prepared.",
            detail="The snapshot must be taken after prepare.",
            hint=line(Next.PREPARE, m.outputs),
        )
    if theirs != ours.identity:
        raise Refused(
            "The target is not the copy of a snapshot of this migration.",
            detail=f"The source's control database names {ours.identity}; the copy's names {theirs or 'nothing'}. "
            "A snapshot from before prepare, of another attempt or of another source cannot be joined without losing "
            "changes.",
            hint=m.next_attempt,
        )
    if not observed_source(observed).logical:
        raise Refused(
            "Logical replication was turned off on the source after prepare.",
            detail=f"wal_level is {observed_source(observed).settings['wal_level']}, track_commit_timestamp is "
            f"{observed_source(observed).settings['track_commit_timestamp']}: another parameter group was attached. "
            "Changes may be missing from the slots.",
            hint=m.next_attempt,
        )
    slot_positions(m, observed)
    if not has_exact_lsn(m, observed):
        refuse_unprovable(m, observed)


# Isolate the copy: only our role and the apply workers may write to it.


def keepers(m: Migration) -> list[str]:
    """The roles that keep CONNECT on a closed database."""
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
    """Terminate the client sessions on the copy."""
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
                f"Could not roll back the prepared transaction {gid!r} that came with the snapshot.",
                detail=f"{problem.detail} Its locks would block the apply worker.",
                hint=f"On the target, as role {owner} in database {database}: ROLLBACK PREPARED '{gid}'; then: {AGAIN}",
            ) from None
