"""The plan: every step in the order of execution. Reading this tuple is reading the runbook.

Between `prepare` and `replicate` Pulumi makes the target; the steps of `cutover` inside the pause are the verbs of
`controller.cutover`, in one function, because there nothing may come between them.
"""

from controller.steps import finish, prepare, replicate
from controller.steps.step import Step

PLAN: tuple[Step, ...] = (
    Step(
        name="control-database",
        command="prepare",
        summary="make the control database on the source",
        done=prepare.has_control,
        act=prepare.make_control,
        undo=prepare.drop_control,
    ),
    Step(
        name="parameters",
        command="prepare",
        summary="switch on logical replication and commit timestamps (one reboot)",
        done=prepare.has_parameters,
        act=prepare.set_parameters,
        undo=prepare.restore_parameters,
    ),
    Step(
        name="replication-role",
        command="prepare",
        summary="make the role that the subscriptions log in with",
        done=prepare.has_role,
        act=prepare.make_role,
        undo=prepare.drop_role,
    ),
    Step(
        name="heartbeat",
        command="prepare",
        summary="make the heartbeat, one row in every database",
        done=prepare.has_heartbeats,
        act=prepare.make_heartbeats,
        undo=prepare.drop_heartbeats,
    ),
    Step(
        name="publication",
        command="prepare",
        summary="publish all tables of every database",
        done=prepare.has_publications,
        act=prepare.make_publications,
        undo=prepare.drop_publications,
    ),
    Step(
        name="slot",
        command="prepare",
        summary="make the slots: from here on the source keeps every change",
        done=prepare.has_slots,
        act=prepare.make_slots,
        undo=prepare.drop_slots,
    ),
    Step(
        name="first-heartbeat",
        command="prepare",
        summary="commit a heartbeat that every later snapshot must hold",
        done=prepare.has_first_beat,
        act=prepare.make_first_beat,
        undo=None,
    ),
    Step(
        name="prepared-mark",
        command="prepare",
        summary="tell Pulumi that the snapshot may be made",
        done=prepare.has_mark,
        act=prepare.make_mark,
        undo=prepare.delete_mark,
    ),
    Step(
        name="tame",
        command="replicate",
        summary="close the copy to everyone but the apply workers",
        done=replicate.is_tame,
        act=replicate.tame,
        undo=None,
    ),
    Step(
        name="exact-lsn",
        command="replicate",
        summary="find the LSN at which the copy's recovery ended, and prove it",
        done=replicate.has_exact_lsn,
        act=replicate.find_lsn,
        undo=None,
    ),
    Step(
        name="subscription",
        command="replicate",
        summary="make the subscriptions, without copying data, disabled",
        done=replicate.has_subscriptions,
        act=replicate.make_subscriptions,
        undo=replicate.undo_replication,
    ),
    Step(
        name="origin",
        command="replicate",
        summary="advance every origin to the exact LSN, and read it back",
        done=replicate.has_origins,
        act=replicate.advance_origins,
        undo=None,
    ),
    Step(
        name="enable",
        command="replicate",
        summary="let the changes flow",
        done=replicate.is_enabled,
        act=replicate.enable,
        undo=None,
    ),
    Step(
        name="catch-up",
        command="replicate",
        summary="follow until a heartbeat committed now is seen on the target",
        done=replicate.never_done,
        act=replicate.catch_up,
        undo=None,
    ),
    Step(
        name="cutover",
        command="cutover",
        summary="fence, end markers, drain, sequences, OPEN, switch",
        done=finish.is_cut_over,
        act=finish.cut_over,
        undo=finish.undo_preparations,
    ),
    Step(
        name="take-down",
        command="retire",
        summary="drop every replication object and both control databases; list plaintext leftovers",
        done=finish.is_retired,
        act=finish.retire,
        undo=None,
    ),
)
