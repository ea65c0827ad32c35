"""Logical decoding and commit timestamps on the source: another parameter group and one reboot."""

from encryptdb.controller.migration import Migration
from encryptdb.controller.next_line import Next, line
from encryptdb.controller.observe import Observed
from encryptdb.controller.observed_server import observe_server
from encryptdb.controller.postgres import control
from encryptdb.controller.records import Parameters, Records
from encryptdb.controller.steps.step import observed_source
from encryptdb.stacks.contract.errors import NotYet, Refused


def has_parameters(m: Migration, observed: Observed) -> bool:
    return bool(observed_source(observed).logical)


def refuse_reboot_without_leave(m: Migration, observed: Observed) -> None:
    """Raise NotYet, before anything is changed, if a reboot is needed and was not allowed."""
    if has_parameters(m, observed) or m.options.allow_reboot:
        return
    settings = observed_source(observed).settings
    raise NotYet(
        "The source must be rebooted once, and that was not allowed.",
        detail=f"wal_level is {settings['wal_level']} and track_commit_timestamp is "
        f"{settings['track_commit_timestamp']}; logical and on are needed, and both act only after a reboot "
        "(usually well under a minute, longer where recovery has much to do). Nothing was attached or changed.",
        hint=f"At a quiet time: {line(Next.PREPARE, m.outputs)} --allow-reboot",
    )


def set_parameters(m: Migration, observed: Observed) -> None:
    refuse_reboot_without_leave(m, observed)
    identifier, group = m.outputs.source.identifier, m.outputs.source_parameter_group
    found = m.described(identifier)
    wanted = group or found.parameter_group
    if found.parameter_group != wanted:
        control.write(m.source, Parameters(found.parameter_group))
        m.say(f"attaching parameter group {wanted} to {identifier} (was {found.parameter_group})")
        m.engine.attach_parameter_group(identifier, wanted)
    # A group that was attached before may already be pending-reboot.
    m.engine.wait_applied(identifier, m.reporter, m.clock)
    m.say(f"rebooting {identifier}: its clients are disconnected until it is available")
    m.source.close()
    m.engine.restart(identifier, m.reporter, m.clock)
    if not observe_server(m.source).logical:
        raise Refused(
            "The source was rebooted, but logical replication is still off.",
            detail=f"The parameter group {wanted} does not set rds.logical_replication=1 and track_commit_timestamp=1.",
            hint=f"With parameterGroup: existing, set both in {wanted}; otherwise: "
            f"pulumi up --stack {m.outputs.stack} && {line(Next.PREPARE, m.outputs)} --allow-reboot",
        )


def restore_parameters(m: Migration, observed: Observed) -> None:
    """Attach the group that the source had, and reboot if allowed."""
    recorded = (observed_source(observed).records or Records()).parameters
    identifier = m.outputs.source.identifier
    found = m.engine.find(identifier)
    if recorded is None or found is None:
        return
    before = recorded.before
    if found.parameter_group != before:
        m.say(f"attaching the source's former parameter group {before}")
        m.engine.attach_parameter_group(identifier, before)
    found = m.engine.wait_applied(identifier, m.reporter, m.clock)
    if found.parameter_status == "in-sync":
        return
    if not m.options.allow_reboot:
        m.say(f"{before} takes effect at the source's next reboot; until then the source writes a little more WAL")
        return
    m.source.close()
    m.engine.restart(identifier, m.reporter, m.clock)
