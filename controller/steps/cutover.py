"""The cutover as a step of the plan. What happens inside it is in `controller.cutover`."""

from encryptdb.controller.cutover.conduct import cut_over
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.postgres import subscriptions

__all__ = ["cut_over", "is_cut_over", "undo_preparations"]


def is_cut_over(m: Migration, observed: Observed) -> bool:
    return observed.serving == "target" and observed.records.cutover is not None


def undo_preparations(m: Migration, observed: Observed) -> None:
    """What a cutover makes on the source before its pause: the subscriptions of the rollback path."""
    if observed.source is not None:
        for name, subscription in observed.source.subscriptions.items():
            if name.startswith(m.names.publication):
                subscriptions.drop(m.source, subscription.database, name)
